// The obvious receiver of LiveKit's webhooks in Node: the SDK's receiver, then one INSERT and one UPDATE in a transaction.
import express from "express";
import { WebhookReceiver } from "livekit-server-sdk";
import pg from "pg";

const receiver = new WebhookReceiver(process.env.LIVEKIT_API_KEY, process.env.LIVEKIT_API_SECRET);
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 });
const INSERT = {
  name: "insert",
  text: "INSERT INTO bench_event (event_id, interview_id, name, body) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
};
const UPDATE = { name: "update", text: "UPDATE bench_interview SET status = $2 WHERE id = $1" };
const STATUS = {
  room_started: "READY_TO_JOIN",
  participant_joined: "IN_PROGRESS",
  track_published: "IN_PROGRESS",
  participant_left: "RECONNECTING",
  room_finished: "COMPLETED",
};

async function record(event) {
  const interviewId = event.room.name.slice("interview-".length);
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    await client.query({ ...INSERT, values: [event.id, interviewId, event.event, JSON.stringify(event.toJson())] });
    await client.query({ ...UPDATE, values: [interviewId, STATUS[event.event]] });
    await client.query("COMMIT");
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  } finally {
    client.release();
  }
}

const app = express();
app.use(express.raw({ type: "application/webhook+json" }));
app.post("/webhooks/livekit", async (request, response) => {
  await record(await receiver.receive(request.body.toString(), request.get("Authorization")));
  response.status(200).end();
});
app.listen(Number(process.env.PORT), "127.0.0.1");
