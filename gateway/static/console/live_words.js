// What stages of an answer and words of `degraded` mean.

export const STAGES = {
  total: 'from the request to its answer',
  session_view: 'waiting for its turn, and for Redis to tell the session',
  session_vector: 'what the session wants, as a vector',
  retrieve: 'candidates: nearest, co-visited, trending, new',
  scenario: 'filters and values of the scenario',
  features: 'what the re-ranker looks at',
  rerank: 'ordering the candidates',
  rules: 'what must not be shown, and diversity',
  explain: 'the reasons beside each item',
}

export const DEGRADED = {
  session_unavailable: 'Redis did not answer in time: only the request itself and what trends were known.',
  catalogue_behind: 'This process could not catch up with the catalogue: stock may be out of date.',
  scenarios_behind: 'This process could not catch up with published scenarios.',
  cap_unavailable: 'Redis did not say how many pages the visitor was given: the frequency cap was passed by.',
  general_model: 'No trained models are named: the general one serves. Train models, then set NEXTCLICK_ARTIFACTS.',
  no_model: 'No session model was loaded: train one, or see Models for which version serves.',
  no_ranker: 'No re-ranker was loaded, or it was trained with another session model.',
  other_ranker: 'The re-ranker that a scenario names cannot be loaded: the usual one ranked.',
  index_shards: 'A shard of the index did not answer in time: its items were not looked through.',
  profile_unavailable: 'What is known of the user could not be read: what they hid may be shown.',
  retrieval_order: 'The deadline left no time to re-rank: candidates stand as their sources order them.',
  co_visitation: 'The deadline left time for co-visited and trending items alone: the machine is short of cores.',
  trending: 'The deadline left time for trending items alone: the machine is short of cores.',
  stale: 'Given before the click that the request named was applied: the sessions flow is behind.',
}
