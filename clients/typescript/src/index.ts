/** Join an interview from a web page. */

export { type JoinOptions, joinInterview } from "./join.js";
export { ProblemError } from "./problem.js";
export { connect, type InterviewRoom } from "./room.js";
/** Every call and model of the service: for calls other than join. */
export type { components, operations, paths } from "./schema.js";
export type * from "./types.js";
