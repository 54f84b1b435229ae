// Where a JSON pointer stands in a text: line, column, and range. Browsers' own parsers say no place, or each its own.

export class NotJson extends Error {
  constructor(offset, detail) {
    super(detail)
    this.offset = offset
  }
}

const LITERALS = { true: true, false: false, null: null }
const ESCAPES = { '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const DEEPEST = 60

const escaped = (part) => String(part).replaceAll('~', '~0').replaceAll('/', '~1')

// Returns {value, places, twice}: `twice` are names that an object gives again, as errors. Places by pointer, {start, end, key: [start, end] or undefined, letters}. `letters` of a
// text has the offset of each of its characters, as escapes are longer than what they stand for. Throws NotJson.
export function parse(text) {
  const places = new Map()
  const twice = []
  let at = 0

  const fail = (expected, where = at) => {
    const got = where < text.length ? JSON.stringify(text[where]) : 'the end'
    throw new NotJson(where, `expected ${expected}, got ${got}`)
  }
  const blank = () => {
    while (' \t\n\r'.includes(text[at]) && at < text.length) at++
  }
  const take = (letter, expected) => {
    blank()
    if (text[at] !== letter) fail(expected)
    at++
  }

  function value(pointer, depth, key) {
    blank()
    const start = at
    const place = { start, end: start, key, letters: undefined }
    places.set(pointer, place)
    if (depth > DEEPEST) fail(`at most ${DEEPEST} levels`)
    const found = text[at] === '{' ? object(pointer, depth) : text[at] === '[' ? array(pointer, depth)
      : text[at] === '"' ? string(place) : plain()
    place.end = at
    return found
  }

  function object(pointer, depth) {
    const found = {}
    at++
    for (let first = true; ; first = false) {
      blank()
      if (first && text[at] === '}') break
      const start = at
      const decimal = /\d,\d$/.test(text.slice(at - 2, at + 1)) // 0,3
      if (text[at] !== '"') fail(first ? 'a name in double quotes or }' : decimal ? 'a number with a point, not a comma' : 'a name in double quotes')
      const name = string({})
      const key = [start, at]
      if (Object.hasOwn(found, name)) twice.push({ range: key, pointer: `${pointer}/${escaped(name)}`, detail: `expected ${JSON.stringify(name)} once in its object` })
      take(':', 'a colon')
      const inner = value(`${pointer}/${escaped(name)}`, depth + 1, key)
      Object.defineProperty(found, name, { value: inner, enumerable: true, configurable: true, writable: true })
      blank()
      if (text[at] === '}') break
      take(',', 'a comma or }')
    }
    at++
    return found
  }

  function array(pointer, depth) {
    const found = []
    at++
    for (let first = true; ; first = false) {
      blank()
      if (first && text[at] === ']') break
      found.push(value(`${pointer}/${found.length}`, depth + 1))
      blank()
      if (text[at] === ']') break
      take(',', 'a comma or ]')
    }
    at++
    return found
  }

  function string(place) {
    const letters = []
    let found = ''
    for (at++; text[at] !== '"'; at++) {
      if (at >= text.length || text[at] === '\n') fail('a closing double quote')
      letters.push(at)
      found += text[at] === '\\' ? escape() : text[at] < ' ' ? fail('no control character in a text') : text[at]
    }
    place.letters = [...letters, at]
    at++
    return found
  }

  function escape() {
    const letter = text[++at]
    if (Object.hasOwn(ESCAPES, letter ?? '')) return ESCAPES[letter]
    const code = text.slice(at + 1, at + 5)
    if (letter !== 'u' || !/^[0-9a-fA-F]{4}$/.test(code)) fail('an escape: \\" \\\\ \\n \\t \\u0041')
    at += 4
    return String.fromCharCode(parseInt(code, 16))
  }

  function plain() {
    NUMBER.lastIndex = at
    const number = NUMBER.exec(text)?.[0]
    if (number) {
      at += number.length
      return Number(number)
    }
    const word = /[a-z]*/y
    word.lastIndex = at
    const name = word.exec(text)[0]
    if (!Object.hasOwn(LITERALS, name)) fail('a value')
    at += name.length
    return LITERALS[name]
  }

  const whole = value('', 0)
  blank()
  if (at < text.length) fail('the end')
  return { value: whole, places, twice }
}

// Line and column of an offset, both from 1.
export function lineColumn(text, offset) {
  const before = text.slice(0, offset).split('\n')
  return { line: before.length, column: before.at(-1).length + 1 }
}

// The range of what an error speaks of. Parts of a pointer that the document does not have (`/value/Value/match`: which
// of several types was tried) are left out. An error within an expression says line and column of the expression.
export function rangeOf(places, value, { pointer, detail }) {
  let [here, found] = ['', value]
  for (const part of pointer.split('/').slice(1)) {
    const next = `${here}/${part}`
    if (!places.has(next)) continue
    here = next
    found = found[part.replaceAll('~1', '/').replaceAll('~0', '~')]
  }
  const place = places.get(here)
  const inside = /^line (\d+), column (\d+)/.exec(detail)
  if (inside && typeof found === 'string') return [placeInside(place, found, +inside[1], +inside[2]), place.end - 1]
  return /^extra inputs/i.test(detail) && place.key ? place.key : [place.start, place.end]
}

function placeInside(place, text, line, column) {
  const start = text.split('\n').slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0)
  return place.letters[Math.min(start + column - 1, place.letters.length - 1)]
}

// What is told of a document that was read, [{pointer, detail}], each with its range in the text.
export const atPlaces = (found, told) => told.map((one) => ({ ...one, range: rangeOf(found.places, found.value, one) }))
