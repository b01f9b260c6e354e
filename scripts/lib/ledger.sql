-- Fills a ledger that tokenist has made: every user on every day, one hour each. The words in capitals are filled in
-- by scripts/bench-ledger. Nothing is random: the same words give the same ledger.
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -1000000;
BEGIN;
-- On odd days a user works for `everyone`, on even days for a team of 1,000.
WITH RECURSIVE
    users (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM users WHERE n + 1 < USER_COUNT),
    days (d) AS (SELECT 0 UNION ALL SELECT d + 1 FROM days WHERE d + 1 < DAY_COUNT),
    rows (n, d, start, mix) AS (
        SELECT n, d, FIRST_DAY + d * 86400000 + (n * 7 % 24) * 3600000, (n * 7919 + d * 104729) % 9973
        FROM days CROSS JOIN users
    )
INSERT INTO rollups (generation, row, user, org, feature, provider, model, start, span_ms, text_in, audio_in,
    cached_audio_in, text_out, audio_out, requests, cost_nano, updated_at)
SELECT 1, d * USER_COUNT + n + 1, printf('user-%06d', n),
    iif(d % 2, 'everyone', printf('team-%03d', n / 1000)), iif(n % 3, 'voice', ''), 'openai',
    iif(mix % 4, 'gpt-realtime', 'gpt-realtime-mini'), start, 3600000, 200 + mix, 3000 + 2 * mix, 1000 + mix, mix / 8,
    1000 + mix, 5 + mix % 40, 100000 * (1000 + mix), start + mix * 300
FROM rows;
INSERT INTO member_day SELECT start - start % 86400000, org, user, SUMS FROM rollups GROUP BY 1, 2, 3;
INSERT INTO member_month
    SELECT unixepoch(start / 1000, 'unixepoch', 'start of month') * 1000, org, user, SUMS FROM member_day GROUP BY 1, 2, 3;
INSERT INTO user_month SELECT start, user, SUMS FROM member_month GROUP BY 1, 2;
INSERT INTO user_total SELECT user, SUMS FROM user_month GROUP BY 1;
INSERT INTO org_day SELECT start, org, SUMS FROM member_day GROUP BY 1, 2;
INSERT INTO slice_hour SELECT start, org, feature, provider, model, SUMS FROM rollups GROUP BY 1, 2, 3, 4, 5;
INSERT INTO slice_day
    SELECT start - start % 86400000, org, feature, provider, model, SUMS FROM slice_hour GROUP BY 1, 2, 3, 4, 5;
WITH RECURSIVE users (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM users WHERE n + 1 < USER_COUNT)
INSERT INTO users
SELECT json_object('user', name), FIRST_DAY << 16, json_object('org', 'everyone', 'email', name || '@example.com', 'name', NULL)
FROM (SELECT printf('user-%06d', n) AS name FROM users);
COMMIT;
