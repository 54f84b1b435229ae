// Decisions: stop, promote, take the scenario back; each is asked again first, with a reason.
// They name the version that was looked at: the gateway refuses where another came between.

import { labelled, make, select } from './elements.js'
import { call, confirming } from './frame.js'

const reason = () => make('textarea', { id: 'why', rows: 3, maxlength: 500 })
const because = (why) => (why.value.trim() ? { why: why.value.trim() } : {})

export function stop(one, done) {
  const why = reason()
  confirming({
    title: `Stop ${one.name}?`,
    text: `Everybody gets ${one.experiment.scenario} as it is published. It cannot be continued: put again, it begins anew.`,
    fields: [labelled('Why (kept with the experiment)', why)],
    label: 'Stop it', danger: true,
    act: async () => {
      await call('POST', `/api/experiments/${one.name}/stop`, { version: one.version, ...because(why) })
      await done(`${one.name} is stopped.`)
    },
  })
}

export function promote(one, done) {
  const why = reason()
  const names = one.experiment.variants.map((variant) => [variant.name, variant.name])
  const best = one.report?.verdict === 'ship' ? names.find(([name]) => one.report.decision.startsWith(`Ship ${name}:`)) : null
  let variant = (best ?? names.at(-1))[0]
  confirming({
    title: 'Promote a variant',
    text: `It becomes ${one.experiment.scenario} for everybody, as a new version, and ${one.name} is stopped.`,
    fields: [labelled('Variant', select('promoted', names, variant, (chosen) => (variant = chosen))), labelled('Why (kept with the experiment)', why)],
    label: 'Promote it',
    act: async () => {
      await call('POST', `/api/experiments/${one.name}/promote`, { variant, version: one.version, ...because(why) })
      await done(`${variant} is ${one.experiment.scenario} now. ${one.name} is stopped.`)
    },
  })
}

// A promotion published a version of the scenario; the one before it is published again.
export async function demote(one, done) {
  const at = `/api/scenarios/${one.experiment.scenario}`
  const { scenarios } = await call('GET', `${at}/versions`)
  const before = scenarios.filter((version) => version.published_ms <= one.stopped_ms).slice(1)
  const names = before.map((version) => [String(version.version), `version ${version.version}`])
  if (!names.length) names.push(['', 'as it is without a document'])
  let version = names[0][0]
  const later = scenarios.filter((other) => other.published_ms > one.stopped_ms) // newest first
  const lost = later.length ? ` What was published since goes with it: version ${later[0].version} is published now.` : ''
  confirming({
    title: `Take ${one.experiment.scenario} back?`,
    text: `${one.promoted} was promoted. An older version of the scenario is published again; the experiment stays stopped.${lost}`,
    fields: [labelled('Go back to', select('demoted', names, version, (chosen) => (version = chosen)))],
    label: 'Take it back', danger: true,
    act: async () => {
      if (version) await call('POST', `${at}/rollback`, { version: Number(version) })
      else await call('DELETE', at)
      await done(`${one.experiment.scenario} is ${version ? `as version ${version} was` : 'without a document again'}.`)
    },
  })
}
