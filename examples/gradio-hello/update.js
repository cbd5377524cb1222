// A launcher with a repository of its own would begin with the message "git pull"; this one is updated with the project around it.
module.exports = {
  run: [
    {
      method: "shell.run",
      params: { venv: "env", message: ["uv pip install --upgrade -r requirements.txt"] }
    }
  ]
}
