// A launcher with a repository of its own would begin with a shell.run of "git pull"; this one is updated with the project around it.
module.exports = {
  run: [
    {
      method: "script.start",
      params: { uri: "packages.js", params: { venv: "env", upgrade: true } }
    }
  ]
}
