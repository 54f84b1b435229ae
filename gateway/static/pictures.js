// Product pictures, drawn: the form comes from the category, the colours from the title. No image is ever fetched.

const FORMS = {
  shoe: '<path d="M18 62c0-8 2-20 4-26 6 5 14 6 20 2 6 14 18 18 32 20 8 1 10 6 10 12v4H18z"/><path class="b" d="M18 74h66v7H24c-4 0-6-3-6-7z"/><path class="l" d="M44 44l8-5M50 51l8-5M57 56l7-5"/>',
  shirt: '<path d="M36 22l-20 10 7 17 8-4v37h38V45l8 4 7-17-20-10c-4 8-24 8-28 0z"/><path class="b" d="M36 22c4 8 24 8 28 0l-5-2c-4 5-14 5-18 0z"/><path class="l" d="M50 34v40"/>',
  bag: '<rect x="22" y="40" width="56" height="42" rx="8"/><path class="l" d="M36 40c0-26 28-26 28 0"/><rect class="b" x="22" y="52" width="56" height="9"/><circle class="w" cx="50" cy="56.500" r="3.500"/>',
  lamp: '<path d="M36 22h28l14 32H22z"/><rect class="b" x="47" y="54" width="6" height="22"/><rect class="b" x="34" y="76" width="32" height="7" rx="3.500"/><path class="l" d="M40 30l-7 17"/>',
  book: '<path d="M24 26c10-5 20-4 26 2v52c-6-6-16-7-26-2z"/><path class="b" d="M76 26c-10-5-20-4-26 2v52c6-6 16-7 26-2z"/><path class="l" d="M31 38c5-2 9-1 12 1M31 48c5-2 9-1 12 1M57 39c3-2 7-3 12-1M57 49c3-2 7-3 12-1"/>',
  mug: '<path d="M26 34h40v36c0 7-5 12-12 12H38c-7 0-12-5-12-12z"/><path class="l t" d="M66 43h6c11 0 11 22-2 22h-4"/><rect class="b" x="26" y="48" width="40" height="11"/><path class="l" d="M38 26c-4-5 4-6 0-11M52 26c-4-5 4-6 0-11"/>',
  tube: '<path d="M34 14h32l-5 56H39z"/><rect class="b" x="42" y="70" width="16" height="14" rx="3"/><rect class="b" x="38" y="32" width="24" height="20"/><path class="l" d="M34 20h32"/>',
  chair: '<path d="M32 20h36c3 0 5 3 4 6l-4 28H32l-4-28c-1-3 1-6 4-6z"/><rect class="b" x="27" y="54" width="46" height="10" rx="5"/><path class="l t" d="M33 64l-5 20M67 64l5 20"/>',
  sound: '<path class="l t" d="M26 62V50c0-32 48-32 48 0v12"/><rect x="19" y="52" width="17" height="30" rx="8"/><rect x="64" y="52" width="17" height="30" rx="8"/><rect class="b" x="31" y="55" width="6" height="24" rx="3"/><rect class="b" x="63" y="55" width="6" height="24" rx="3"/>',
  screen: '<rect x="18" y="24" width="64" height="44" rx="6"/><rect class="b" x="24" y="30" width="52" height="32" rx="2"/><path d="M44 68h12l3 10H41z"/><rect x="34" y="77" width="32" height="5" rx="2.500"/><path class="l" d="M30 54l12-14 9 8 10-12"/>',
  plant: '<path d="M50 60C28 56 24 38 27 22c18 4 26 18 23 38z"/><path class="b" d="M50 60c-2-22 8-32 25-34 2 18-6 32-25 34z"/><path d="M34 60h32l-5 23H39z"/><path class="l" d="M36 32l14 26 14-20"/>',
  ball: '<circle cx="50" cy="52" r="31"/><path class="b" d="M50 21c12 14 12 48 0 62a31 31 0 0 0 0-62z"/><path class="l" d="M19 52h62M28 30c12 12 12 32 0 44M72 30c-12 12-12 32 0 44"/>',
  bottle: '<path d="M43 16h14v14c0 7 9 9 9 20v26c0 5-3 8-8 8H42c-5 0-8-3-8-8V50c0-11 9-13 9-20z"/><rect class="b" x="34" y="52" width="32" height="18"/><rect class="b" x="42" y="14" width="16" height="7" rx="2"/><path class="l" d="M41 48c1-5 4-7 5-11"/>',
  tool: '<path d="M30 20l14 14-4 10-10 4-14-14c-2 14 8 24 22 20l28 30c8 5 16-3 11-11L49 43c4-15-5-25-19-23z"/><circle class="w" cx="70" cy="77" r="4"/><path class="l" d="M46 52l18 18"/>',
  toy: '<rect x="20" y="50" width="30" height="32" rx="4"/><rect class="b" x="52" y="50" width="30" height="32" rx="4"/><path d="M50 14l18 32H32z"/><circle class="w" cx="35" cy="66" r="7"/><path class="l" d="M60 66h14"/>',
  shorts: '<path d="M26 28h48l8 48H56l-6-28-6 28H18z"/><rect class="b" x="26" y="26" width="48" height="9" rx="3"/><path class="l" d="M26 66l-1 6M74 66l1 6M50 36v12"/>',
  pole: '<path class="l t" d="M34 20l12 62M66 20L54 82"/><path d="M29 14h10l2 16H32zM61 14h10l-3 16h-9z"/><path class="b" d="M40 72h12l1 4H39zM48 72h12l1 4H47z"/>',
  ring: '<path class="l t" d="M40 24c14-8 26 2 28 14l4 24c2 18-18 26-30 16-10-8-8-18-8-28V38c0-6 2-11 6-14z"/><rect class="b" x="29" y="40" width="9" height="24" rx="4"/>',
  tent: '<path d="M50 22L16 80h68z"/><path class="b" d="M50 22l-15 58h30z"/><path class="w" d="M50 48l-8 32h16z"/><path class="l" d="M50 22V14"/>',
  sock: '<path d="M38 16h24v34l18 16c8 8 0 20-11 16L45 68c-5-2-7-6-7-11z"/><path class="b" d="M38 16h24v10H38zM72 60l8 6c8 8 0 20-11 16l-6-3z"/><path class="l" d="M38 32h24M38 38h24"/>',
  pan: '<circle cx="42" cy="52" r="27"/><circle class="b" cx="42" cy="52" r="20"/><rect x="64" y="47" width="28" height="10" rx="5"/><path class="l" d="M30 46c2-6 7-9 13-9"/>',
  cushion: '<path d="M22 28c16 7 40 7 56 0 5 14 5 34 0 50-16-7-40-7-56 0-5-16-5-36 0-50z"/><path class="l" d="M32 38c12 4 24 4 36 0M31 67c12-4 26-4 38 0"/><circle class="b" cx="50" cy="53" r="4"/>',
  camera: '<path d="M20 36h16l5-9h18l5 9h16c3 0 5 2 5 5v33c0 3-2 5-5 5H20c-3 0-5-2-5-5V41c0-3 2-5 5-5z"/><circle class="b" cx="50" cy="57" r="17"/><circle class="w" cx="50" cy="57" r="9"/><circle class="w" cx="76" cy="45" r="3"/>',
  box: '<path d="M50 18l32 14v36L50 84 18 68V32z"/><path class="b" d="M50 46l32-14v36L50 84z"/><path class="l" d="M18 32l32 14 32-14M34 25l32 14v14"/>',
  glass: '<path d="M32 18h36c4 26-4 38-14 40v18h12v6H34v-6h12V58c-10-2-18-14-14-40z"/><path class="b" d="M32 34h36c0 14-6 22-14 24h-8c-8-2-14-10-14-24z"/><path class="l" d="M40 24c-1 6-1 10 1 16"/>',
  roll: '<rect x="16" y="34" width="62" height="40" rx="20"/><circle class="b" cx="70" cy="54" r="20"/><path class="l" d="M70 54m-12 0a12 12 0 1 1 12 12 7 7 0 1 1-7-7"/>',
  weight: '<rect x="30" y="47" width="40" height="10" rx="4"/><rect class="b" x="16" y="34" width="14" height="36" rx="5"/><rect class="b" x="70" y="34" width="14" height="36" rx="5"/><rect x="10" y="42" width="8" height="20" rx="3"/><rect x="82" y="42" width="8" height="20" rx="3"/>',
  helmet: '<path d="M16 62c0-44 68-44 68 0v6H16z"/><path class="b" d="M16 62h68v10c0 4-3 6-6 6H48z"/><path class="l" d="M34 54c2-12 6-18 12-22M50 54V30M66 54c-2-12-6-18-12-22"/>',
  watch: '<path class="b" d="M38 14h24l3 22H35zM35 66h30l-3 22H38z"/><circle cx="50" cy="51" r="25"/><circle class="w" cx="50" cy="51" r="18"/><path class="l d" d="M50 40v11l8 5"/>',
}

const WORDS = [
  [/sock/, 'sock'],
  [/shoe|boot|sneaker|sandal/, 'shoe'],
  [/bag|pack|luggage|wallet|case|sleeve/, 'bag'],
  [/shorts|chino|trouser|jean|pants/, 'shorts'],
  [/shirt|jacket|dress|jersey|coat|knit|blazer|cloth|apparel|scar/, 'shirt'],
  [/pole|tripod|stick/, 'pole'],
  [/carabiner|harness|lock|strap/, 'ring'],
  [/watch|jewel|ring|belt/, 'watch'],
  [/lamp|light|lantern|candle/, 'lamp'],
  [/helmet/, 'helmet'],
  [/tent/, 'tent'],
  [/pan|cook|stove|turntable/, 'pan'],
  [/cream|ointment|balm|paint/, 'tube'],
  [/bottle|oil|shampoo|conditioner|perfume|lotion|drink|beer|gin|tonic/, 'bottle'],
  [/glass|wine/, 'glass'],
  [/mug|cup|coffee|tea|spice|candle|jar/, 'mug'],
  [/chair|sofa|table|furniture/, 'chair'],
  [/pillow|cushion|duvet|sheet|blanket|bed/, 'cushion'],
  [/mat|rug|rope|band/, 'roll'],
  [/bell|weight/, 'weight'],
  [/head|earbud|audio|music|sound/, 'sound'],
  [/camera|lens|photo/, 'camera'],
  [/screen|laptop|monitor|keyboard|mice|hub|phone|tablet|comput|tv/, 'screen'],
  [/plant|seed|garden|flower/, 'plant'],
  [/book|paper|comic|novel|card/, 'book'],
  [/block|puzzle|chess|toy|kid|baby/, 'toy'],
  [/game|pasta|chocolate|kit|box|bean/, 'box'],
  [/ball|sport|fitness/, 'ball'],
  [/tool|pump|lock|knife|knives|pruner|arm|grinder|machine|glove|board|drill/, 'tool'],
]

// Colours that an item may name in its attributes: hue, saturation and lightness of the form.
const COLOURS = {
  black: [230, 8, 32], white: [40, 14, 84], navy: [222, 52, 36], sage: [110, 20, 56], rust: [16, 62, 45], sand: [38, 42, 66],
  teal: [178, 52, 38], plum: [318, 34, 40], mustard: [44, 74, 50], coral: [8, 76, 64], ivory: [46, 40, 82], red: [0, 64, 50],
  blue: [212, 60, 50], green: [140, 42, 42], yellow: [50, 82, 56], grey: [220, 6, 54], brown: [24, 40, 36], pink: [338, 60, 66],
}

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
  const hue = hashOf(category.split('/').slice(0, 2).join('/') + '·') % 360
  const own = hashOf(item.title + item.item_id)
  const colour = item.attributes?.colour
  const known = Object.hasOwn(COLOURS, colour) ? COLOURS[colour] : undefined
  const [tint, strength, light] = known ?? [(hue + (own % 70) + 325) % 360, 52, 50]
  const turn = ((own >> 4) % 11) - 5
  const x = 8 + ((own >>> 12) % 84)
  return `<svg class="picture" viewBox="-17 0 134 100" preserveAspectRatio="xMidYMid slice" aria-hidden="true" focusable="false"
    style="--hue:${hue};--tint:${tint};--s:${strength}%;--l:${light}%"><rect class="ground" x="-40" width="180" height="100"/>
    <circle class="halo" cx="${x}" cy="${(own >>> 18) % 90}" r="${28 + ((own >>> 22) % 16)}"/>
    <ellipse class="shade" cx="50" cy="88" rx="32" ry="3.500"/>
    <g class="form" transform="rotate(${turn} 50 52)">${formOf(category)}</g></svg>`
}
