export { EventQueue } from "./queue.js";
export { RETRY } from "./retries.js";
export type Event = import("./client.js").Event;
export type RecommendationAnswer = import("./client.js").RecommendationAnswer;
export { Client, event } from "./client.js";
export { NextclickError, Refused, Unavailable, WrongUse } from "./errors.js";
