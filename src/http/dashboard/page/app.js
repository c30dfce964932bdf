// Puts the page together: what the service tells goes to the parts that show it.

import { $, announce, mark, say, token } from "./api.js";
import * as charts from "./charts.js";
import * as drive from "./drive.js";
import * as forms from "./forms.js";
import * as moves from "./moves.js";
import * as shards from "./shards.js";
import * as slots from "./slots.js";
import { watch } from "./stream.js";

charts.setup();
slots.setup();
forms.setup();
drive.setup();
forms.firstSteps();

const TELL = {
  history: charts.history,
  map: slots.show,
  state(state) {
    say($("version"), state.version);
    const { empty } = shards.show(state);
    $("empty").hidden = !empty;
    shards.cache(state.cache);
    moves.show(state.moves);
    slots.follow(state.moves);
    charts.add(state.rates);
    forms.choices(state.shards);
  },
};

const LINK = {
  live: ["good", "live"],
  lost: ["bad", "no answer; trying again"],
  refused: ["warn", "sign in to see more"],
};
let link = null;

function linked(state, why, status) {
  if (state !== link) {
    if (link !== null || state !== "live") announce(state === "live" ? "Connected." : LINK[state][1]);
    link = state;
    const [shade, text] = LINK[state];
    mark($("link"), "state", shade);
    mark(document.body, "link", shade);
    say($("link"), text);
  }
  if (state === "live") access("full");
  if (state === "refused") {
    access("none");
    const need = status === 401 ? "Sign-in is on. Paste a token with the scope admin to see the shards and to move slots; a user's token is enough to store and look up that user's files." : why;
    say($("sign-in-why"), token.get() ? `${why || "The token does not count"}. ${need === why ? "" : need}` : need);
  }
}

function access(kind) {
  mark(document.body, "access", kind);
  if (kind === "full") $("sign-in").hidden = true;
  if (kind === "none") $("sign-in").hidden = false;
}

const stream = watch("dashboard/events", { event: (kind, data) => TELL[kind]?.(data), state: linked });
document.addEventListener("refused", ({ detail }) => {
  $("sign-in").hidden = false;
  say($("sign-in-why"), detail);
});

$("sign-in-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = event.target.elements.token;
  token.set(field.value.trim());
  field.value = "";
  forms.firstSteps();
  link = null;
  stream.restart();
});

stream.restart();
