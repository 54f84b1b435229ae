// What a shop in TypeScript writes: compiled by `npm run check`, never run.
import { Client, EventQueue, event, Refused } from '../types/index.js'

export async function page(client: Client): Promise<string[]> {
  const taken = await client.sendEvents([event('view', { session_id: 's-1', item_id: 'boot-1' })])
  const answer = await client.recommend('homepage', { session_id: 's-1', limit: 5, after: taken.token ?? null })
  const position: number | undefined = answer.recommendations[0]?.position
  await client.putItem('boot-1', { title: 'Boot', price: position ?? 1, colour_of_our_own: 'black' })
  new EventQueue(client, { told: (one, why: string) => console.log(one.event_id, why) }).track('cart', { session_id: 's-1', item_id: 'x' })
  try {
    // @ts-expect-error a price is a number
    await client.putItem('boot-1', { title: 'Boot', price: 'cheap' })
    // @ts-expect-error a question needs a session
    await client.recommend('homepage', { limit: 5 })
    // @ts-expect-error an event needs a session
    event('view', { item_id: 'boot-1' })
  } catch (error) {
    if (error instanceof Refused) return error.fields.map((field) => field.pointer)
  }
  return answer.recommendations.map((one) => one.item_id)
}
