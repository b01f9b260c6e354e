const BASE = 'http://127.0.0.1:8080/v1'

export const SNIPPETS = {
  python: {
    label: 'Python',
    file: 'openai-python',
    code: `from openai import OpenAI

client = OpenAI(
    base_url="${BASE}",
    default_headers={"x-user-id": "alice"},
)

with client.realtime.connect(model="gpt-realtime") as connection:
    connection.session.update(session={"type": "realtime"})
    connection.conversation.item.create(item={
        "type": "message", "role": "user",
        "content": [{"type": "input_text", "text": "Hello"}],
    })
    connection.response.create()
    for event in connection:
        if event.type == "response.done":
            break`,
  },
  node: {
    label: 'Node',
    file: 'ws',
    code: `import WebSocket from 'ws'

const socket = new WebSocket(
  '${BASE.replace('http', 'ws')}/realtime?model=gpt-realtime',
  {
    headers: {
      Authorization: \`Bearer \${process.env.OPENAI_API_KEY}\`,
      'x-user-id': 'alice',
    },
  },
)

socket.on('open', () => socket.send(JSON.stringify({ type: 'response.create' })))
socket.on('message', (event) => console.log(JSON.parse(event)))`,
  },
} as const
