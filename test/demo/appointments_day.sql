INSERT INTO appointments (patient, treatment, starts_at) VALUES
	('Ann', 'check-up', '2030-02-01 09:00+00'),
	('Bob', 'filling', '2030-02-01 09:30+00');

UPDATE appointments SET starts_at = '2030-02-01 16:00+00' WHERE patient = 'Ann';

DELETE FROM appointments WHERE patient = 'Bob';

INSERT INTO appointments (patient, treatment, starts_at) VALUES
	('Cleo', 'root canal', '2030-02-01 10:15+00');

TABLE appointments;
