// Server-sent events over fetch, which, unlike EventSource, can sign in by a header. Comes back by itself.

import { headers } from "./api.js";

const PAUSES = [500, 1000, 2000, 5000];
/** A snapshot comes each second: after so long without one the connection is dead, whatever the system says. */
const SILENCE = 6000;

/**
 * Reads events until `stop()`. `on.event(kind, data)` gets each, `on.state("live" | "lost" | "refused", why)` tells how
 * it goes. After "refused" nothing is tried before `restart()`.
 */
export function watch(path, on) {
  let abort = new AbortController();
  let run = 0;

  async function loop(mine) {
    let failures = 0;
    while (mine === run) {
      abort = new AbortController();
      try {
        const response = await fetch(path, { headers: headers(), cache: "no-store", signal: abort.signal });
        if (response.status === 401 || response.status === 403) {
          const problem = await response.json().catch(() => ({}));
          return on.state("refused", problem.detail ?? problem.title ?? "", response.status);
        }
        if (!response.ok) throw new Error(`status ${response.status}`);
        await read(response.body, (kind, data) => {
          failures = 0;
          on.state("live");
          on.event(kind, data);
        });
      } catch { /* lost: said below */ }
      if (mine !== run) return;
      // A stream that ended after its first message is opened again before it is called lost.
      if (failures > 0) on.state("lost");
      const pause = PAUSES[Math.min(failures, PAUSES.length - 1)];
      failures += 1;
      await new Promise((done) => setTimeout(done, pause));
    }
  }

  async function read(body, tell) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const silence = setTimeout(() => abort.abort(), SILENCE);
      const { done, value } = await reader.read().finally(() => clearTimeout(silence));
      if (done) return;
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) {
        const [, kind, data] = /^event: (\w+)\ndata: (.*)$/.exec(event) ?? [];
        if (kind) tell(kind, JSON.parse(data));
      }
    }
  }

  return {
    restart() {
      run += 1;
      abort.abort();
      loop(run);
    },
    stop() {
      run += 1;
      abort.abort();
    },
  };
}
