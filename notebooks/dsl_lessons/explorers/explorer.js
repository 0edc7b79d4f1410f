// Sliders, buttons, a picture and a command. All values and pictures come from Python; nothing is computed here.

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

function slider(model, spec, id) {
  const row = make("div", "dsl-row");
  const label = make("label", "dsl-label", spec.label);
  const input = make("input");
  const readout = make("output", "dsl-readout");
  label.htmlFor = input.id = id;
  readout.htmlFor = id;
  Object.assign(input, { type: "range", min: spec.least, max: spec.most, step: spec.step, name: spec.name });
  input.dataset.lmSuppressShortcuts = "true"; // else JupyterLab takes the arrow keys for its own shortcuts
  const show = () => {
    const value = model.get("values")[spec.name];
    if (Number(input.value) !== value) input.value = value;
    readout.textContent = String(value);
  };
  input.addEventListener("input", () => {
    model.set("values", { ...model.get("values"), [spec.name]: Number(input.value) });
    readout.textContent = input.value;
    model.save_changes();
  });
  model.on("change:values", show);
  show();
  row.append(label, input, readout);
  return row;
}

function button(model, spec) {
  const node = make("button", "dsl-button", spec.label);
  node.type = "button";
  node.addEventListener("click", () => model.send({ button: spec.name }));
  const show = () => (node.disabled = !model.get("enabled").includes(spec.name));
  model.on("change:enabled", show);
  show();
  return node;
}

function commandLine(model) {
  const row = make("div", "dsl-command");
  const code = make("code");
  const copy = make("button", "dsl-button", "Copy as batch run");
  copy.type = "button";
  copy.addEventListener("click", async () => {
    getSelection().selectAllChildren(code); // where the clipboard is closed to us, the text stands selected
    try {
      await navigator.clipboard.writeText(code.textContent);
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => (copy.textContent = "Copy as batch run"), 2000);
  });
  follow(model, "command", (text) => (code.textContent = text));
  row.append(copy, code);
  return row;
}

function follow(model, name, show) {
  model.on(`change:${name}`, () => show(model.get(name)));
  show(model.get(name));
}

export default {
  render({ model, el }) {
    el.classList.add("dsl-explorer");
    const prefix = `dsl-${Math.random().toString(36).slice(2)}`;
    const controls = make("div", "dsl-controls");
    model.get("sliders").forEach((spec) => controls.append(slider(model, spec, `${prefix}-${spec.name}`)));
    const buttons = make("div", "dsl-buttons");
    model.get("buttons").forEach((spec) => buttons.append(button(model, spec)));
    const figure = make("div", "dsl-picture");
    const summary = make("div", "dsl-summary");
    const problem = make("div", "dsl-problem");
    summary.setAttribute("role", "status");
    problem.setAttribute("role", "alert");
    follow(model, "picture", (svg) => (figure.innerHTML = svg));
    follow(model, "summary", (text) => (summary.textContent = text));
    follow(model, "problem", (text) => (problem.textContent = text));
    el.append(controls, buttons, figure, summary, problem, commandLine(model));
  },
};
