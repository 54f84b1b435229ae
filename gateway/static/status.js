// The line that says what just happened. It stands in the flow of the page, above the cards, and sticks to the top.

import { $ } from './elements.js'

const SHOWN_MS = { news: 6_000, undo: 20_000, problem: 20_000 }

let fading = 0

// `undo` is what the button beside the text does.
export function say(text, { problem = false, undo = null } = {}) {
  clearTimeout(fading)
  fading = setTimeout(quiet, SHOWN_MS[problem ? 'problem' : undo ? 'undo' : 'news'])
  $('status').textContent = text
  $('bar').className = problem ? 'bar problem' : 'bar told'
  $('undo').hidden = undo === null
  $('undo').onclick = undo && (() => {
    $('undo').hidden = true
    undo()
  })
}

export function quiet() {
  $('status').textContent = ''
  $('bar').className = 'bar'
  $('undo').hidden = true
}

// A small copy of the list, while the list itself is out of sight: a click far down is seen to change it.
export function followList(rail) {
  const seen = new IntersectionObserver(([entry]) => {
    $('strip').hidden = entry.isIntersecting || !rail.childElementCount
  }, { rootMargin: '-120px 0px 0px 0px' })
  seen.observe(rail)
}
