module.exports = {
  run: [
    {
      method: "input",
      params: {
        title: "Your notebook",
        description: "Both can be changed later in settings.json.",
        form: [
          { key: "title", type: "text", title: "Title", default: "My notes", required: true },
          { key: "colour", type: "select", title: "Colour", items: ["indigo", "teal", "crimson"], default: "indigo" }
        ]
      }
    },
    {
      method: "json.set",
      params: { "settings.json": { title: "{{input.title}}", colour: "{{input.colour}}" } }
    },
    {
      method: "script.start",
      params: { uri: "packages.js", params: { venv: "env" } }
    }
  ]
}
