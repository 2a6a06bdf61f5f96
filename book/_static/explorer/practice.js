// <densenet-practice>: endless drills with fresh numbers, each answered at once.
//
//   <densenet-practice>What a reader without JavaScript sees.</densenet-practice>
//
// An address that ends with #set=channels&seed=7 asks the ten questions of this set instead.
"use strict";

(() => {
  const { KINDS, LEVELS, drill, drillsOfSet, judge } = DenseNetDrills;
  const { html, scrolling, grouped, sentence, define, leadsToSection } = Elements;

  const NAMES = {
    channels: "channels",
    shapes: "shapes down a network",
    parameters: "parameters",
    memory: "bytes kept for training",
    mistakes: "which mistake gives this table",
  };
  const RIGHT_TO_RISE = 3;
  const WRONG_TO_FALL = 2;
  const MOST_SEED_OF_DRILL = 2147483646;

  /* Progress */

  const KEY = "densenet-practice";
  const NOT_KEPT = "This browser does not let the page keep your progress: it is gone when you leave the page.";
  const UNREADABLE = "The progress that this browser keeps cannot be read. It stays as it is until you delete it.";

  // `inARow` counts the last answers that were right, or below zero those that were wrong.
  const nothing = () => ({
    kinds: Object.fromEntries(KINDS.map((kind) => [kind, { level: 1, inARow: 0, right: 0, answered: 0 }])),
    sets: {},
  });

  // What is there of a reader's answers, in the browser's storage if it allows that.
  class Progress {
    constructor() {
      this.content = nothing();
      this.problem = "";
    }

    // Another tab may have written since.
    load() {
      if (this.problem) return;
      try {
        const text = localStorage.getItem(KEY);
        this.content = text === null ? nothing() : this.checked(text);
      } catch (error) {
        this.problem = error instanceof SyntaxError ? UNREADABLE : NOT_KEPT;
      }
    }

    // Throws a SyntaxError for a text that this page has not written.
    checked(text) {
      const content = JSON.parse(text);
      const isCount = (number) => Number.isInteger(number) && number >= 0;
      const isKind = ({ level, inARow, right, answered }) =>
        isCount(level - 1) &&
        level <= LEVELS &&
        Number.isInteger(inARow) &&
        isCount(right) &&
        isCount(answered - right);
      const isSet = (answers) => Array.isArray(answers) && answers.every((isRight) => typeof isRight === "boolean");
      const { kinds = {}, sets = {} } = content ?? {};
      if (!KINDS.every((kind) => isKind(kinds[kind] ?? {})) || !Object.values(sets).every(isSet)) {
        throw new SyntaxError(UNREADABLE);
      }
      return content;
    }

    // Change the content with `change`, and keep it.
    update(change) {
      this.load();
      change(this.content);
      if (this.problem) return;
      try {
        localStorage.setItem(KEY, JSON.stringify(this.content));
      } catch {
        this.problem = NOT_KEPT;
      }
    }

    delete() {
      this.content = nothing();
      this.problem = "";
      try {
        localStorage.removeItem(KEY);
      } catch {
        this.problem = NOT_KEPT;
      }
    }
  }

  // Count an answer to a drill of a kind; say what becomes of the level.
  function count(kind, isRight) {
    kind.answered += 1;
    kind.right += Number(isRight);
    kind.inARow = isRight ? Math.max(kind.inARow, 0) + 1 : Math.min(kind.inARow, 0) - 1;
    if (kind.inARow >= RIGHT_TO_RISE && kind.level < LEVELS) {
      Object.assign(kind, { level: kind.level + 1, inARow: 0 });
      return ` ${RIGHT_TO_RISE} in a row: on to level ${kind.level}.`;
    }
    if (kind.inARow <= -WRONG_TO_FALL && kind.level > 1) {
      Object.assign(kind, { level: kind.level - 1, inARow: 0 });
      return ` ${WRONG_TO_FALL} wrong in a row: back to level ${kind.level}.`;
    }
    return "";
  }

  /* Questions */

  function table(caption, rows) {
    const head = ["stage", "output shape", "parameters"].map((name) => html("th", { scope: "col" }, name));
    head[0].className = "explorer-name";
    const body = rows.map(({ stage, output_shape, parameters }) =>
      html(
        "tr",
        {},
        html("th", { scope: "row", class: "explorer-name" }, stage),
        html("td", {}, `(${output_shape.join(", ")})`),
        html("td", {}, grouped(parameters)),
      ),
    );
    return html(
      "table",
      { class: "table explorer-table" },
      html("caption", {}, html("span", {}, caption)),
      html("thead", {}, html("tr", {}, ...head)),
      html("tbody", {}, ...body),
    );
  }

  const HINTS = {
    shapes: "Batch, channel, height and width, such as 16, 64, 8, 8.",
    other: "A number, or an expression such as 4*16*(64 + 32).",
  };

  // The question, and where the reader answers it.
  function fieldsOf({ kind, question, found, expected, choices }) {
    if (kind !== "mistakes") {
      const hint = html("span", { class: "practice-hint", id: "practice-hint" }, HINTS[kind] ?? HINTS.other);
      const described = { "aria-describedby": "practice-question practice-hint" };
      const field = html("input", {
        name: "answer",
        type: "text",
        autocomplete: "off",
        spellcheck: false,
        ...described,
      });
      return [
        html("p", { class: "practice-question", id: "practice-question" }, question),
        html("label", {}, "Your answer", field, hint),
      ];
    }
    const tables = [table("What the program's network shows", found)];
    if (expected) tables.push(table("What it should show", expected));
    const options = choices.map(({ name, text }) =>
      html("label", { class: "practice-choice" }, html("input", { name: "answer", type: "radio", value: name }), text),
    );
    return [
      html("p", { class: "practice-question", id: "practice-question" }, question),
      scrolling("Tables of the network", html("div", { class: "practice-tables" }, ...tables)),
      html("fieldset", { "aria-describedby": "practice-question" }, html("legend", {}, "Your answer"), ...options),
    ];
  }

  /* Element */

  class DensenetPractice extends HTMLElement {
    connectedCallback() {
      this.progress = new Progress();
      this.build();
      this.open();
      addEventListener("hashchange", this.follow);
    }

    disconnectedCallback() {
      removeEventListener("hashchange", this.follow);
    }

    build() {
      const options = Object.entries(NAMES).map(([kind, name]) => html("option", { value: kind }, name));
      this.kinds = html("select", {}, html("option", { value: "all" }, "all in turn"), ...options);
      this.kinds.addEventListener("input", () => this.ask());
      this.choice = html("div", { class: "explorer-controls" }, html("label", {}, "practise", this.kinds));
      this.problem = html("p", { class: "explorer-problem", role: "alert" });
      this.place = html("p", { class: "practice-place" });
      this.fields = html("div", {});
      this.button = html("button", { type: "submit" }, "Check");
      this.form = html("form", { "aria-label": "Question", novalidate: true }, this.fields, this.button);
      this.form.addEventListener("submit", (event) => {
        event.preventDefault();
        if (this.isJudged) this.goOn();
        else this.check();
      });
      this.feedback = html("p", { class: "practice-feedback", "aria-live": "polite" });
      this.result = html("div", { tabindex: -1 });
      this.records = scrolling("Your progress");
      this.note = html("p", { class: "practice-note", "aria-live": "polite" });
      this.exported = html("a", { download: "densenet-practice.json" }, "Export the progress");
      const deleted = html("button", { type: "button" }, "Delete the progress");
      deleted.addEventListener("click", () => this.forget());
      const actions = html("p", { class: "practice-actions" }, this.exported, deleted);
      const task = [this.choice, this.problem, this.place, this.form, this.feedback, this.result];
      this.replaceChildren(...task, this.records, this.note, actions);
    }

    follow = () => leadsToSection() || this.open();

    // Begin what the address asks for.
    open = () => {
      const fragment = new URLSearchParams(location.hash.slice(1));
      this.set = null;
      this.problem.textContent = "";
      if (fragment.has("set")) {
        const [kind, seed] = [fragment.get("set"), fragment.get("seed") ?? ""];
        try {
          this.set = { kind, seed: Number(seed), drills: drillsOfSet(kind, seed) };
          this.set.name = `${kind}, seed ${this.set.seed}`;
        } catch (error) {
          if (!(error instanceof RangeError)) throw error;
          this.problem.textContent = error.message;
        }
      }
      this.choice.hidden = this.set !== null;
      this.progress.load();
      this.ask();
      this.showProgress();
    };

    answersOfSet = () => this.progress.content.sets[this.set.name] ?? [];

    ask() {
      const number = this.set ? this.answersOfSet().length : 0;
      this.feedback.textContent = "";
      delete this.feedback.dataset.right;
      this.isJudged = false;
      if (this.set && number >= this.set.drills.length) {
        this.showResult();
        return;
      }
      this.drill = this.set ? this.set.drills[number] : this.fresh();
      const level = `level ${this.drill.level} of ${LEVELS}`;
      const place = this.set
        ? `Set ${this.set.name}: question ${number + 1} of ${this.set.drills.length}.`
        : sentence(`${NAMES[this.drill.kind]}, ${level}`);
      this.place.replaceChildren(place);
      if (this.set) this.place.append(" ", html("a", { href: "#" }, "Practise freely instead"));
      this.fields.replaceChildren(...fieldsOf(this.drill));
      this.button.textContent = "Check";
      this.form.hidden = false;
      this.result.replaceChildren();
    }

    // A drill at the reader's level; if all kinds come in turn, of the kind after the last one.
    fresh() {
      const chosen = this.kinds.value;
      const last = KINDS.indexOf(this.drill?.kind);
      const kind = chosen === "all" ? KINDS[(last + 1) % KINDS.length] : chosen;
      const seed = Math.floor(Math.random() * MOST_SEED_OF_DRILL);
      return drill(kind, this.progress.content.kinds[kind].level, seed);
    }

    check() {
      try {
        const { isRight, says } = judge(this.drill, new FormData(this.form).get("answer") ?? "");
        this.feedback.textContent = says + this.keep(isRight);
        this.feedback.dataset.right = isRight;
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        this.feedback.textContent = error.message;
        delete this.feedback.dataset.right;
        return;
      }
      this.isJudged = true;
      for (const field of this.form.querySelectorAll("input")) field.disabled = true;
      const isLast = this.set && this.answersOfSet().length === this.set.drills.length;
      this.button.textContent = isLast ? "Show the result" : "Next question";
      this.button.focus();
      this.showProgress();
    }

    // Count the answer; say what becomes of the reader's level.
    keep(isRight) {
      let change = "";
      this.progress.update(({ kinds, sets }) => {
        if (this.set) sets[this.set.name] = [...(sets[this.set.name] ?? []), isRight];
        else change = count(kinds[this.drill.kind], isRight);
      });
      return change;
    }

    goOn() {
      this.ask();
      if (this.form.hidden) this.result.focus();
      else this.form.querySelector("input").focus();
    }

    showResult() {
      const answers = this.answersOfSet();
      const wrong = answers.flatMap((isRight, place) => (isRight ? [] : [place + 1]));
      const details = wrong.length ? ` Wrong: ${wrong.join(", ")}.` : "";
      const text = `DenseNet practice, set ${this.set.name}: ${answers.length - wrong.length} of ${answers.length} right.${details}`;
      const field = html("input", { type: "text", readonly: true, value: text, "aria-label": "Result" });
      const copy = html("button", { type: "button" }, "Copy");
      const note = html("span", { "aria-live": "polite" });
      copy.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(text);
          note.textContent = "Copied.";
        } catch {
          field.focus();
          field.select();
          note.textContent = "The result is selected: copy it as you copy any text.";
        }
      });
      const again = html("button", { type: "button" }, "Answer the set again");
      again.addEventListener("click", () => {
        this.progress.update(({ sets }) => delete sets[this.set.name]);
        this.goOn();
        this.showProgress();
      });
      this.form.hidden = true;
      this.place.replaceChildren(html("a", { href: "#" }, "Practise freely"));
      this.result.replaceChildren(
        html("p", {}, html("strong", {}, text)),
        html("p", { class: "practice-actions" }, field, copy, again, note),
      );
    }

    forget() {
      if (!confirm("Delete all that this page has counted in this browser?")) return;
      this.progress.delete();
      this.drill = null;
      this.ask();
      this.showProgress();
      this.note.textContent = `The progress is deleted. ${this.progress.problem}`;
    }

    showProgress() {
      const { content, problem } = this.progress;
      const head = ["drill", "level", "right", "answered"].map((name) => html("th", { scope: "col" }, name));
      head[0].className = "explorer-name";
      const rows = KINDS.map((kind) => {
        const { level, right, answered } = content.kinds[kind];
        const cells = [level, grouped(right), grouped(answered)].map((text) => html("td", {}, text));
        return html("tr", {}, html("th", { scope: "row", class: "explorer-name" }, NAMES[kind]), ...cells);
      });
      this.records.replaceChildren(
        html(
          "table",
          { class: "table explorer-table" },
          html(
            "caption",
            {},
            html("span", {}, "Your progress, which stays in this browser. Sets are not counted here."),
          ),
          html("thead", {}, html("tr", {}, ...head)),
          html("tbody", {}, ...rows),
        ),
      );
      this.note.textContent = problem;
      this.exported.href = `data:application/json,${encodeURIComponent(JSON.stringify(content, null, 2))}`;
    }
  }

  define("densenet-practice", DensenetPractice);
})();
