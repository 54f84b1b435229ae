// Asking as somebody types: after a pause, one question at a time, none that was answered already: its answer is shown again.

// `ask(question)` answers a question; `shown(answer)` and `failed(error)` take what came of the newest one. Questions
// are the same where their JSON is.
export class Latest {
  #ask
  #shown
  #failed
  #pauseMs
  #wanted = null
  #asked = null
  #answer = null // to what was asked last
  #busy = false
  #timer = 0

  constructor({ ask, shown, failed, pauseMs }) {
    this.#ask = ask
    this.#shown = shown
    this.#failed = failed
    this.#pauseMs = pauseMs
  }

  want(question) {
    this.#wanted = JSON.stringify(question)
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#go(), this.#pauseMs)
  }

  // Nothing is wanted; the answer to what is under way is not shown.
  drop() {
    clearTimeout(this.#timer)
    this.#wanted = this.#asked = null
  }

  async #go() {
    if (this.#busy || this.#wanted === null) return
    if (this.#wanted === this.#asked) return this.#shown(this.#answer)
    const mine = (this.#asked = this.#wanted)
    this.#busy = true
    try {
      this.#answer = await this.#ask(JSON.parse(mine))
      if (this.#wanted === mine) this.#shown(this.#answer)
    } catch (error) {
      if (this.#wanted === mine) this.#failed(error)
      if (this.#asked === mine) this.#asked = null
    } finally {
      this.#busy = false
    }
    if (this.#wanted !== mine) this.#go()
  }
}
