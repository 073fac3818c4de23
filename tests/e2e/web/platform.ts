// A platform's program on the client that openapi-typescript and openapi-fetch make of our document.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { argv: string[] };

const [, , baseUrl, key] = process.argv;
const api = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });

function must<T>(answer: { data?: T; error?: components["schemas"]["Problem"] }): T {
  if (answer.data === undefined) {
    throw new Error(`${answer.error?.code}: ${answer.error?.detail}`);
  }
  return answer.data;
}

const made = must(
  await api.POST("/interviews", {
    body: {
      candidateId: "cand-1",
      applicationId: "app-1",
      jobPostId: "job-1",
      jobTitle: "Backend Developer",
      phoneNumber: "+966 50 987 6543",
    },
  }),
);
const path = { interview_id: made.interviewId };
const joined = must(await api.POST("/interviews/{interview_id}/join", { params: { path } }));
const token = must(await api.POST("/interviews/{interview_id}/token", { params: { path } }));
const listed = must(await api.GET("/interviews", { params: { query: { status: ["READY_TO_JOIN"], limit: 10 } } }));
must(await api.POST("/interviews/{interview_id}/cancel", { params: { path } }));
const refused = await api.POST("/interviews/{interview_id}/join", { params: { path } });

console.log(
  JSON.stringify({
    made: made.interviewId,
    room: made.roomName,
    joined: joined.roomName,
    server: [joined.serverUrl, token.server_url],
    listed: listed.data.map((each) => each.interviewId),
    refused: refused.error?.code,
  }),
);
