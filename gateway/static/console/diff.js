// What changed between two texts, line by line: the longest common subsequence of their lines.

const MOST = 3_000 // lines of either: beyond, all of one goes and all of the other comes

// Returns [sign, line] pairs: ' ' stays, '-' goes, '+' comes.
export function diff(before, after) {
  const [a, b] = [before.split('\n'), after.split('\n')]
  if (a.length > MOST || b.length > MOST) return [...a.map((line) => ['-', line]), ...b.map((line) => ['+', line])]
  const width = b.length + 1
  const longest = new Uint16Array((a.length + 1) * width)
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      longest[i * width + j] = a[i] === b[j] ? longest[(i + 1) * width + j + 1] + 1 : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1])
    }
  }
  const told = []
  let [i, j] = [0, 0]
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) told.push([' ', a[i++], j++])
    else if (j >= b.length || (i < a.length && longest[(i + 1) * width + j] >= longest[i * width + j + 1])) told.push(['-', a[i++]])
    else told.push(['+', b[j++]])
  }
  return told.map(([sign, line]) => [sign, line])
}
