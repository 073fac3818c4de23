-- The flat tables of the peers: interviews with the seed's fields, and the events of the webhook peer.
CREATE TABLE bench_interview (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    candidate_id uuid NOT NULL DEFAULT gen_random_uuid(),
    application_id uuid NOT NULL DEFAULT gen_random_uuid(),
    job_post_id uuid NOT NULL DEFAULT gen_random_uuid(),
    participant_name text NOT NULL,
    phone_number text NOT NULL,
    job_title text NOT NULL,
    company_name text NOT NULL,
    max_duration int NOT NULL DEFAULT 1800,
    status text NOT NULL DEFAULT 'READY_TO_JOIN'
);
CREATE TABLE bench_event (
    event_id text PRIMARY KEY,
    interview_id uuid NOT NULL,
    name text NOT NULL,
    body jsonb NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);
