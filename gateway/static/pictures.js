// Product pictures, drawn: the form comes from the category, the colours from the title. No image is ever fetched.

const FORMS = {
  shoe: '<path d="M18 62c0-8 2-20 4-26 6 5 14 6 20 2 6 14 18 18 32 20 8 1 10 6 10 12v4H18z"/><path class="b" d="M18 74h66v7H24c-4 0-6-3-6-7z"/><path class="l" d="M44 44l8-5M50 51l8-5M57 56l7-5"/>',
  shirt: '<path d="M36 22l-20 10 7 17 8-4v37h38V45l8 4 7-17-20-10c-4 8-24 8-28 0z"/><path class="b" d="M36 22c4 8 24 8 28 0l-5-2c-4 5-14 5-18 0z"/><path class="l" d="M50 34v40"/>',
  bag: '<rect x="22" y="40" width="56" height="42" rx="8"/><path class="l" d="M36 40c0-26 28-26 28 0"/><rect class="b" x="22" y="52" width="56" height="9"/><circle class="w" cx="50" cy="56.500" r="3.500"/>',
  lamp: '<path d="M36 22h28l14 32H22z"/><rect class="b" x="47" y="54" width="6" height="22"/><rect class="b" x="34" y="76" width="32" height="7" rx="3.500"/><path class="l" d="M40 30l-7 17"/>',
  book: '<path d="M24 26c10-5 20-4 26 2v52c-6-6-16-7-26-2z"/><path class="b" d="M76 26c-10-5-20-4-26 2v52c6-6 16-7 26-2z"/><path class="l" d="M31 38c5-2 9-1 12 1M31 48c5-2 9-1 12 1M57 39c3-2 7-3 12-1M57 49c3-2 7-3 12-1"/>',
  mug: '<path d="M26 34h40v36c0 7-5 12-12 12H38c-7 0-12-5-12-12z"/><path class="l t" d="M66 43h6c11 0 11 22-2 22h-4"/><rect class="b" x="26" y="48" width="40" height="11"/><path class="l" d="M38 26c-4-5 4-6 0-11M52 26c-4-5 4-6 0-11"/>',
  chair: '<path d="M32 20h36c3 0 5 3 4 6l-4 28H32l-4-28c-1-3 1-6 4-6z"/><rect class="b" x="27" y="54" width="46" height="10" rx="5"/><path class="l t" d="M33 64l-5 20M67 64l5 20"/>',
  sound: '<path class="l t" d="M26 62V50c0-32 48-32 48 0v12"/><rect x="19" y="52" width="17" height="30" rx="8"/><rect x="64" y="52" width="17" height="30" rx="8"/><rect class="b" x="31" y="55" width="6" height="24" rx="3"/><rect class="b" x="63" y="55" width="6" height="24" rx="3"/>',
  screen: '<rect x="18" y="24" width="64" height="44" rx="6"/><rect class="b" x="24" y="30" width="52" height="32" rx="2"/><path d="M44 68h12l3 10H41z"/><rect x="34" y="77" width="32" height="5" rx="2.500"/><path class="l" d="M30 54l12-14 9 8 10-12"/>',
  plant: '<path d="M50 60C28 56 24 38 27 22c18 4 26 18 23 38z"/><path class="b" d="M50 60c-2-22 8-32 25-34 2 18-6 32-25 34z"/><path d="M34 60h32l-5 23H39z"/><path class="l" d="M36 32l14 26 14-20"/>',
  ball: '<circle cx="50" cy="52" r="31"/><path class="b" d="M50 21c12 14 12 48 0 62a31 31 0 0 0 0-62z"/><path class="l" d="M19 52h62M28 30c12 12 12 32 0 44M72 30c-12 12-12 32 0 44"/>',
  bottle: '<path d="M43 16h14v14c0 7 9 9 9 20v26c0 5-3 8-8 8H42c-5 0-8-3-8-8V50c0-11 9-13 9-20z"/><rect class="b" x="34" y="52" width="32" height="18"/><rect class="b" x="42" y="14" width="16" height="7" rx="2"/><path class="l" d="M41 48c1-5 4-7 5-11"/>',
  tool: '<path d="M30 20l14 14-4 10-10 4-14-14c-2 14 8 24 22 20l28 30c8 5 16-3 11-11L49 43c4-15-5-25-19-23z"/><circle class="w" cx="70" cy="77" r="4"/><path class="l" d="M46 52l18 18"/>',
  toy: '<rect x="20" y="50" width="30" height="32" rx="4"/><rect class="b" x="52" y="50" width="30" height="32" rx="4"/><path d="M50 14l18 32H32z"/><circle class="w" cx="35" cy="66" r="7"/><path class="l" d="M60 66h14"/>',
  watch: '<path class="b" d="M38 14h24l3 22H35zM35 66h30l-3 22H38z"/><circle cx="50" cy="51" r="25"/><circle class="w" cx="50" cy="51" r="18"/><path class="l d" d="M50 40v11l8 5"/>',
}

const WORDS = [
  [/shoe|boot|sneaker|sandal|foot|running|trail|hik/, 'shoe'],
  [/shirt|cloth|apparel|fashion|wear|jacket|dress|top|knit|coat/, 'shirt'],
  [/bag|pack|luggage|wallet|travel/, 'bag'],
  [/lamp|light/, 'lamp'],
  [/book|stationery|paper|comic|novel|office/, 'book'],
  [/mug|kitchen|cook|coffee|tea|dining/, 'mug'],
  [/chair|sofa|furniture|living|table|bed|home/, 'chair'],
  [/audio|head|speaker|music|sound/, 'sound'],
  [/screen|tv|comput|laptop|phone|electronic|camera|tablet|gam/, 'screen'],
  [/plant|garden|flower|outdoor|seed/, 'plant'],
  [/ball|sport|fitness|yoga|tennis|cycl|bike|swim/, 'ball'],
  [/bottle|drink|beauty|wine|beer|perfume|skin|hair|food|grocery|care/, 'bottle'],
  [/tool|diy|hardware|drill|car|auto/, 'tool'],
  [/toy|kid|baby|game|puzzle|block/, 'toy'],
  [/watch|jewel|ring|accessor/, 'watch'],
]

const NAMES = Object.keys(FORMS)

export function hashOf(text) {
  let h = 2166136261
  for (const letter of text) h = Math.imul(h ^ letter.codePointAt(0), 16777619)
  return h >>> 0
}

function formOf(category) {
  const path = category.toLowerCase().split('/').reverse()
  for (const part of path) {
    const found = WORDS.find(([words]) => words.test(part))
    if (found) return FORMS[found[1]]
  }
  return FORMS[NAMES[hashOf(category) % NAMES.length]]
}

// SVG text of an item's picture. Decorative: the title stands beside it.
export function picture(item) {
  const category = item.category || item.item_id
  const hue = hashOf(category.split('/')[0] + '·') % 360
  const own = hashOf(item.title + item.item_id)
  const tint = (hue + (own % 50) - 25 + 360) % 360
  const accent = (tint + 150 + (own >> 8) % 60) % 360
  const turn = ((own >> 4) % 13) - 6
  const x = 12 + ((own >> 12) % 76)
  return `<svg class="picture" viewBox="0 0 100 100" aria-hidden="true" focusable="false"
    style="--hue:${hue};--tint:${tint};--accent-hue:${accent}"><rect class="ground" width="100" height="100"/>
    <circle class="halo" cx="${x}" cy="${(own >> 18) % 90}" r="${26 + ((own >> 22) % 16)}"/>
    <ellipse class="shade" cx="50" cy="86" rx="33" ry="4"/>
    <g class="form" transform="rotate(${turn} 50 52)">${formOf(category)}</g></svg>`
}
