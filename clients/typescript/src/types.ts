/** Good names for the models of schema.ts, which is made from the service's OpenAPI document. */

import type { components } from "./schema.js";

type Schemas = components["schemas"];

/** The service's answer to a join: what livekit-client needs to connect, and what a page may show. */
export type JoinResponse = Schemas["JoinResponse"];
/** What a candidate sends to join. The join policy decides what is needed. */
export type JoinCredentials = Schemas["JoinRequest"];
/** The eleven fields that the agent reads from `participant.metadata`. */
export type ParticipantMetadata = Schemas["ParticipantMetadata"];
export type InterviewStatus = Schemas["PublicStatus"];
export type EndReason = Schemas["EndReason"];
/** The service's errors, as RFC 9457 describes them. Some codes have members of their own, such as `opensAt`. */
export type Problem = Schemas["Problem"];
export type ProblemCode = Schemas["ProblemCode"];
