-- Adds $1 interviews, ready to be joined, with the same ids and texts in the peers' table and in ours. Numbers continue
-- after the existing ones. benchmarks.interviews derives the secret of an invite from the phone number.
WITH made AS (
    INSERT INTO bench_interview (participant_name, phone_number, job_title, company_name)
    SELECT 'Candidate ' || n, (966500000000 + n)::text, 'Senior Backend Developer - Fintech', 'MENA Bank'
    FROM (SELECT count(*) AS many FROM bench_interview) AS known, generate_series(many + 1, many + $1) AS n
    RETURNING *
)
INSERT INTO interviews (
    id, organization_id, candidate_id, application_id, job_post_id, participant_name, phone_number, job_title,
    company_name, instructions, max_duration, search_text, invite_hash, invite_expires_at
)
SELECT
    made.id, organizations.id, candidate_id, application_id, job_post_id, participant_name, phone_number, job_title,
    made.company_name,
    'Welcome to your interview for ' || job_title || ' at ' || made.company_name || '. Please speak clearly and answer '
    || 'all questions to the best of your ability.',
    made.max_duration,
    lower(participant_name || ' ' || job_title || ' ' || phone_number),
    sha256(('inv_' || md5(phone_number))::bytea),
    now() + interval '30 days'
FROM made, organizations
WHERE organizations.name = 'default'
RETURNING id, candidate_id, phone_number;
