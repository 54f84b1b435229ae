// What an address shows under which there is no page.

import { $, make } from './elements.js'
import './frame.js'

$('main').replaceChildren(make('h1', {}, 'No such page'),
  make('p', {}, `${location.pathname} is no page of the console. `, make('a', { href: '/console' }, 'The first page'), ' says which there are.'))
$('main').setAttribute('aria-busy', 'false')
