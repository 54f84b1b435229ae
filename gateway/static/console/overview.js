// The first page: which pages there are.

import { $, make } from './elements.js'
import './frame.js'

const PAGES = [
  ['/console/experiments', 'Experiments', 'What is tried, what it changed, and whether to ship it.'],
  ['/console/figures', 'Figures', 'What was shown, and what it earned: clicks, orders, revenue.'],
  ['/console/session', 'Session', 'One visitor: clicks, the answer now and why, and what one click changes.'],
  ['/console/catalogue', 'Catalogue', 'Items: counts, what goes with them, who shows them and who does not.'],
  ['/console/scenarios', 'Scenarios', 'What lists decide: edit, try on a session, publish, go back.'],
  ['/docs', 'API', 'Every endpoint, to be tried here.'],
]

$('main').append(make('ul', { class: 'cards' }, PAGES.map(([href, title, text]) =>
  make('li', {}, make('a', { class: 'card link', href }, make('b', {}, title), make('span', { class: 'quiet' }, text))))))
$('main').setAttribute('aria-busy', 'false')
