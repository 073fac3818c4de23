import assert from "node:assert/strict";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, mock, test } from "node:test";
import type { LocalAudioTrack, Room } from "livekit-client";
import {
  connect,
  type InterviewRoom,
  type JoinResponse,
  joinInterview,
  type Problem,
  ProblemError,
} from "../src/index.js";

interface Answer {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
}

const JOINED: JoinResponse = {
  serverUrl: "ws://127.0.0.1:7880",
  participantToken: "token",
  candidateId: "cand-1",
  participantName: "ليلى",
  jobTitle: "Backend Developer",
  interviewId: "c6aec8f5-592b-4b90-b7fd-a6a6404b31f9",
  applicationId: "app-1",
  jobPostId: "job-1",
  companyName: "MENA Bank",
  instructions: "Welcome.",
  maxDuration: 1800,
  status: "READY_TO_JOIN",
  roomName: "interview-c6aec8f5-592b-4b90-b7fd-a6a6404b31f9",
  tokenExpiresAt: "2026-11-22T09:10:00.000Z",
};
const YES: Answer = { status: 200, body: JOINED };

function refusal(status: number, code: string, members: Partial<Problem> = {}, retryAfter?: number): Answer {
  const body = { title: "No", status, detail: `Because of ${code}.`, code, requestId: "req-1", ...members };
  return { status, body, ...(retryAfter !== undefined && { headers: { "Retry-After": String(retryAfter) } }) };
}

describe("joinInterview", () => {
  let server: Server;
  let service: string;
  let answers: Answer[]; // the last one again and again
  let requests: { method?: string; path?: string; headers: IncomingHttpHeaders; body: string }[];

  beforeEach(async () => {
    mock.method(Math, "random", () => 0);
    requests = [];
    server = createServer(async (request, response) => {
      const body = (await request.toArray()).join("");
      requests.push({ method: request.method ?? "", path: request.url ?? "", headers: request.headers, body });
      const answer = answers.length > 1 ? answers.shift() : answers[0];
      assert(answer);
      response.writeHead(answer.status, { "X-Request-Id": "req-0", Connection: "close", ...answer.headers });
      response.end(typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    service = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });

  afterEach(() => {
    mock.restoreAll();
    server.close();
  });

  async function refused(answer: Answer, patience = 30): Promise<ProblemError> {
    answers = [answer];
    const error = await joinInterview({ service, interviewId: "1", patience }).catch((error: unknown) => error);
    assert(error instanceof ProblemError, String(error));
    return error;
  }

  test("returns the join response", async () => {
    answers = [YES];
    const credentials = { phoneNumber: "٠٥٠ ٩٨٧ ٦٥٤٣" };
    assert.deepEqual(await joinInterview({ service, interviewId: JOINED.interviewId, credentials }), JOINED);
    const [request] = requests;
    assert(request);
    assert.equal(request.method, "POST");
    assert.equal(request.path, `/interviews/${JOINED.interviewId}/join`);
    assert.equal(request.headers["content-type"], "application/json");
    assert.deepEqual(JSON.parse(request.body), credentials);
  });

  test("the address may end in a slash, have a path, and the id is no path", async () => {
    answers = [YES];
    await joinInterview({ service: `${service}/hiring//`, interviewId: "../a b" });
    assert.equal(requests[0]?.path, "/hiring/interviews/..%2Fa%20b/join");
    assert.equal(requests[0]?.body, "{}");
  });

  test("uses the fetch that it is given", async () => {
    const options = { service: "http://unused", interviewId: "1", fetch: async () => Response.json(JOINED) };
    assert.deepEqual(await joinInterview(options), JOINED);
  });

  const REFUSALS: [number, string][] = [
    [401, "phone_number_required"],
    [401, "invite_required"],
    [403, "wrong_phone_number"],
    [404, "interview_not_found"],
    [408, "request_too_slow"],
    [409, "interview_over"],
    [410, "interview_erased"],
    [500, "internal_error"],
  ];
  for (const [status, code] of REFUSALS) {
    test(`${status} ${code} is thrown at once`, async () => {
      const error = await refused(refusal(status, code));
      assert.deepEqual([error.status, error.code, error.requestId], [status, code, "req-1"]);
      assert.deepEqual([error.message, error.detail], [`Because of ${code}.`, `Because of ${code}.`]);
      assert.equal(error.retryAfter, undefined);
      assert.equal(requests.length, 1);
    });
  }

  test("the problem has the members of its code", async () => {
    const over = await refused(refusal(409, "interview_over", { interviewStatus: "CANCELLED" }));
    assert.equal(over.problem?.interviewStatus, "CANCELLED");
  });

  test("too_early is the page's to wait for", async () => {
    const error = await refused(refusal(409, "too_early", { opensAt: "2026-11-22T09:00:00Z" }, 1));
    assert.deepEqual([error.code, error.retryAfter, requests.length], ["too_early", 1, 1]);
    assert.equal(error.problem?.opensAt, "2026-11-22T09:00:00Z");
  });

  for (const [status, code] of [
    [429, "rate_limited"],
    [503, "database_unavailable"],
  ] as const) {
    test(`${status} with Retry-After is waited for and tried again`, async () => {
      answers = [refusal(status, code, {}, 1), YES];
      const begin = performance.now();
      assert.deepEqual(await joinInterview({ service, interviewId: "1", credentials: { invite: "inv_1" } }), JOINED);
      const elapsed = performance.now() - begin;
      assert(elapsed >= 990, `${elapsed} ms`); // Node's timers may fire a millisecond early
      assert.deepEqual(requests[0]?.body, requests[1]?.body);
      assert.equal(requests.length, 2);
    });
  }

  test("the tries are spread, so that not all clients come back at one moment", async () => {
    mock.method(Math, "random", () => 0.4);
    answers = [refusal(503, "database_unavailable", {}, 0), YES];
    const begin = performance.now();
    await joinInterview({ service, interviewId: "1" });
    assert(performance.now() - begin >= 1390);
  });

  test("it does not wait for longer than its patience", async () => {
    const error = await refused(refusal(429, "too_many_tries", {}, 600));
    assert.deepEqual([error.code, error.retryAfter, requests.length], ["too_many_tries", 600, 1]);
  });

  test("patience is for all waits together", async () => {
    const error = await refused(refusal(503, "database_unavailable", {}, 0), 1);
    assert.deepEqual([error.code, requests.length], ["database_unavailable", 2]);
  });

  test("503 without Retry-After is thrown at once", async () => {
    assert.equal((await refused(refusal(503, "schema_behind"))).code, "schema_behind");
    assert.equal(requests.length, 1);
  });

  for (const body of ["<h1>Sign in to the hotel's network</h1>", "", "null", '{"serverUrl": 1}', [], { code: 1 }]) {
    for (const status of [200, 502]) {
      test(`${status} ${JSON.stringify(body)} is an unreadable answer`, async () => {
        const error = await refused({ status, body });
        assert.deepEqual([error.code, error.status, error.requestId], ["unreadable_answer", status, "req-0"]);
        assert.equal(error.problem, undefined);
      });
    }
  }

  test("without a network it throws what fetch throws", async () => {
    server.close();
    await assert.rejects(joinInterview({ service, interviewId: "1" }), TypeError);
  });
});

describe("connect", () => {
  const microphone = { source: "microphone" };

  /** A room that writes down its calls, and fails in one of them. */
  function room(fails?: "connect" | "publishTrack"): InterviewRoom<typeof microphone> & { calls: unknown[][] } {
    const calls: unknown[][] = [];
    const called = async (name: string, ...values: unknown[]) => {
      calls.push([name, ...values]);
      if (name === fails) {
        throw new Error(name);
      }
    };
    return {
      calls,
      connect: (...values) => called("connect", ...values),
      disconnect: () => called("disconnect"),
      localParticipant: { publishTrack: (...values) => called("publishTrack", ...values) },
    };
  }

  test("connects, then publishes the microphone", async () => {
    const joined = room();
    await connect(joined, JOINED, microphone);
    assert.deepEqual(joined.calls, [
      ["connect", JOINED.serverUrl, JOINED.participantToken],
      ["publishTrack", microphone],
    ]);
  });

  for (const fails of ["connect", "publishTrack"] as const) {
    test(`leaves the room again if ${fails} fails`, async () => {
      const joined = room(fails);
      await assert.rejects(connect(joined, JOINED, microphone), new Error(fails));
      assert.deepEqual(joined.calls.at(-1), ["disconnect"]);
    });
  }

  test("the compiler takes livekit-client's room and microphone, and no track that does not say what it is", () => {
    const named = (livekit: Room, track: LocalAudioTrack) => connect(livekit, JOINED, track);
    const unnamed = (livekit: Room, track: MediaStreamTrack) =>
      // @ts-expect-error - it has no source
      connect(livekit, JOINED, track);
    assert.notEqual(named, unnamed);
  });
});
