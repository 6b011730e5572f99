INSERT INTO visits SELECT n, n, timestamp '2030-02-01 08:00' + n * interval '10 min' FROM generate_series(1, 1000) AS n;
UPDATE visits SET starts_at = starts_at + interval '1 hour' WHERE id % 3 = 0;
DELETE FROM visits WHERE id % 10 = 0;

CALL eventbridge.run_deliveries();
