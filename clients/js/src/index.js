/** Client of the Nextclick recommender, for Node 18 and later and for browsers. No dependencies. */

export { Client, event } from './client.js'
export { NextclickError, Refused, Unavailable, WrongUse } from './errors.js'
export { EventQueue } from './queue.js'
export { RETRY } from './retries.js'

/** @typedef {import('./client.js').Event} Event */
/** @typedef {import('./client.js').RecommendationAnswer} RecommendationAnswer */
