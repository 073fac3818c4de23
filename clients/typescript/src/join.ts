import { hasTexts, ProblemError, read } from "./problem.js";
import type { JoinCredentials, JoinResponse } from "./types.js";

const RETRIED = [429, 503]; // not 409 too_early: the page shows when the interview opens
const LEAST_WAIT = 1; // second
const SPREAD = 1; // second, at most: clients that were refused at the same moment come back at different ones

export interface JoinOptions {
  /** The address of the service, such as `https://interviews.example.com`. */
  service: string;
  interviewId: string;
  /** The phone number, or the invitation's secret. Default: none, for the join policy `open`. */
  credentials?: JoinCredentials;
  /** Seconds to wait in all, where the service is busy and says how long. Default: 30. */
  patience?: number;
  /** In place of the global fetch: for a timeout, a signal or a test. */
  fetch?: typeof globalThis.fetch;
}

/**
 * Ask the service for a place in the interview's room.
 *
 * Answers 429 and 503 with Retry-After are waited for and tried again, as long as `patience` lasts. Every other refusal
 * throws a ProblemError. Without a network it throws what `fetch` throws.
 */
export async function joinInterview(options: JoinOptions): Promise<JoinResponse> {
  let patience = options.patience ?? 30;
  for (;;) {
    try {
      return await askOnce(options);
    } catch (error) {
      const wait = waitAfter(error);
      if (wait === undefined || wait > patience) {
        throw error;
      }
      patience -= wait;
      await new Promise((resolve) => setTimeout(resolve, wait * 1000));
    }
  }
}

async function askOnce({ service, interviewId, credentials = {}, fetch = globalThis.fetch }: JoinOptions) {
  const url = `${service.replace(/\/+$/, "")}/interviews/${encodeURIComponent(interviewId)}/join`;
  const response = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(credentials),
  });
  return read(response, isJoinResponse);
}

function isJoinResponse(body: unknown): body is JoinResponse {
  return hasTexts(body, "serverUrl", "participantToken");
}

/** Return the seconds to wait before the same call may succeed; undefined if it will not. */
function waitAfter(error: unknown): number | undefined {
  const retryAfter = error instanceof ProblemError && RETRIED.includes(error.status) ? error.retryAfter : undefined;
  return retryAfter === undefined ? undefined : Math.max(LEAST_WAIT, retryAfter) + Math.random() * SPREAD;
}
