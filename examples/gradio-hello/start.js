module.exports = {
  daemon: true,
  run: [
    {
      method: "shell.run",
      params: {
        venv: "env",
        env: { GRADIO_ANALYTICS_ENABLED: "False", PYTHONUNBUFFERED: "1" },
        message: ["python app.py --port {{port}}"],
        on: [{ event: "/(http:\\/\\/[0-9.:]+)/", done: true }]
      }
    },
    {
      method: "local.set",
      params: { url: "{{input.event[1]}}" }
    }
  ]
}
