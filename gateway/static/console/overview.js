// The first page: which pages there are.

import { $, make } from './elements.js'
import './frame.js'

const PAGES = [
  ['/console/experiments', 'Experiments', 'What is tried, what it changed, and whether to ship it.'],
  ['/console/figures', 'Figures', 'What was shown, and what it earned: clicks, orders, revenue.'],
  ['/docs', 'API', 'Every endpoint, to be tried here.'],
]

$('main').append(make('ul', { class: 'cards' }, PAGES.map(([href, title, text]) =>
  make('li', {}, make('a', { class: 'card link', href }, make('b', {}, title), make('span', { class: 'quiet' }, text))))))
$('main').setAttribute('aria-busy', 'false')
