// What a page shows of what is left: the browser's own fetch, from another origin, with a token.

export default async (origin, token) => {
  const answer = await fetch(`${origin.replace('ws', 'http')}/v1/usage/me`, {
    headers: { Authorization: `Bearer ${token}` },
  })
  const { user_id: user, remaining, allowed_models: models } = await answer.json()
  console.log(JSON.stringify({ status: answer.status, user, remaining, models }))
}
