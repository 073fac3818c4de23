import type { Problem, ProblemCode } from "./types.js";

/** The service refused a call. `message` is the problem's `detail`: a sentence for developers, in English. */
export class ProblemError extends Error {
  override readonly name = "ProblemError";
  /** A newer service may send a code that is not listed here, so handle an unknown one too. `unreadable_answer` is
   * this package's own: a proxy, or a network's sign-in page, answered in the service's place. */
  readonly code: ProblemCode | "unreadable_answer";
  readonly status: number;
  readonly detail: string;
  /** The operator finds the request by it. */
  readonly requestId: string | undefined;
  /** Seconds to wait before the next try, where the service says so. */
  readonly retryAfter: number | undefined;
  /** The whole document. Undefined for an `unreadable_answer`. */
  readonly problem: Problem | undefined;

  constructor(response: Response, problem?: Problem) {
    const detail = problem?.detail ?? `The answer, with status ${response.status}, is not from the interview service.`;
    super(detail);
    this.code = (problem?.code as ProblemCode | undefined) ?? "unreadable_answer";
    this.status = response.status;
    this.detail = detail;
    this.requestId = problem?.requestId ?? response.headers.get("X-Request-Id") ?? undefined;
    this.retryAfter = retryAfterOf(response);
    this.problem = problem;
  }
}

/** Return the response's JSON. Throws a ProblemError unless it is a success whose body `isExpected`. */
export async function read<Body>(response: Response, isExpected: (body: unknown) => body is Body): Promise<Body> {
  const body = parse(await response.text());
  if (response.ok && isExpected(body)) {
    return body;
  }
  throw new ProblemError(response, !response.ok && isProblem(body) ? body : undefined);
}

/** Return whether it is an object that has strings under these keys. */
export function hasTexts(body: unknown, ...keys: string[]): boolean {
  return (
    typeof body === "object" &&
    body !== null &&
    keys.every((key) => typeof (body as Record<string, unknown>)[key] === "string")
  );
}

function isProblem(body: unknown): body is Problem {
  return hasTexts(body, "code", "detail", "requestId");
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function retryAfterOf(response: Response): number | undefined {
  const header = response.headers.get("Retry-After");
  return header !== null && /^\d+$/.test(header) ? Number(header) : undefined;
}
