# Patterns.pm - random event patterns and events, from few names and values, so that
# they match each other now and then
package Patterns;

use strict;
use warnings;

use Fuzz;

*pick = \&Fuzz::pick;

my @names = (
	'a', 'b', 'c', 'a.b', 'source', 'detail', 'detail-type', 'build-status', '$or', '', 'x.y.z', 'A',
	"\x{e9}t\x{e9}", 'prefix', 'a b');
my @strings = (
	'', 'a', 'A', 'ab', 'abc', 'aba', 'a*b', 'x/y', 'aws.s3', 'SUCCEEDED', '10.0.0.1', '10.0.0.01',
	'2001:db8::1', '::ffff:10.0.0.1', "\x{df}", 'SS', "\x{c9}", "\x{e9}", "\x{1f600}", "\x{3a3}\x{3c2}",
	'null', '300', '*', 'a\\\\*', 'a\\"b', "\x{130}i", "\x{212a}k");
my @numbers = (
	0, 1, -1, 2, 300, '300.0', '3e2', '0.1', '1e-7', '-0.0', '5e9', '1e308', '12345678901234567890.5', 100);

our @tokens = (
	'{"prefix":', '{"suffix":', '{"equals-ignore-case":', '{"wildcard":', '{"anything-but":', '{"numeric":',
	'{"exists":', '{"cidr":', '{"exactly":', '"$or":[', '[{', '}]', '},{', '["', '"]', '"a":', '"a":["a"]',
	'">="', '"<"', '"="', '10.0.0.0/8', '::/0', '{"a":', ',');

# SQL for a session: pg_temp.probe(text, events) tries a pattern and raises a warning
# for every property that does not hold.
sub probe
{
	return <<'SQL';
SET search_path = eventbridge, public;
CREATE FUNCTION pg_temp.probe(input text, events text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	pattern event_pattern;
	again event_pattern;
	fault text;
	event text;
	matched boolean;
BEGIN
	fault := (SELECT min(c.message) FROM check_event_pattern(input) c);
	BEGIN
		pattern := input::event_pattern;
	EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
		IF fault IS NULL THEN
			RAISE WARNING 'FINDING: the input function alone refuses it: %', SQLERRM;
		END IF;
		RETURN;
	END;
	IF fault IS NOT NULL THEN
		RAISE WARNING 'FINDING: check_event_pattern alone refuses it: %', fault;
	END IF;

	again := pattern::text::event_pattern;
	IF again <> pattern OR again::text <> pattern::text
		OR event_pattern_hash(again) <> event_pattern_hash(pattern)
		OR event_pattern_send(again) <> event_pattern_send(pattern) THEN
		RAISE WARNING 'FINDING: text does not make the same pattern again: %', pattern;
	END IF;
	BEGIN
		again := pattern::jsonb::event_pattern;
	EXCEPTION WHEN feature_not_supported THEN
		again := pattern;		-- jsonb cannot hold it, and says so
	END;
	FOREACH event IN ARRAY events LOOP
		BEGIN
			matched := event::jsonb @~ pattern;
			IF matched IS DISTINCT FROM matches(event::jsonb, again) THEN
				RAISE WARNING 'FINDING: jsonb and back matches otherwise: % on %', pattern, event;
			END IF;
		EXCEPTION WHEN invalid_text_representation OR untranslatable_character THEN
			NULL;				-- no JSON
		END;
	END LOOP;
END
$$;
SQL
}

sub quoted { return '"' . $_[0] . '"' }
sub name { return quoted(pick(@names)) }
sub string { return quoted(pick(@strings) . (rand() < 0.1 ? pick(@strings) : '')) }
sub number { return pick(@numbers) }
sub scalar_value { return pick(\&string, \&string, \&number, sub { pick(qw(true false null)) })->() }
sub list { my ($item, $max) = @_; return '[' . join(', ', map { $item->() } 1 .. 1 + int(rand($max))) . ']' }

sub numeric
{
	return '["=", ' . number() . ']' if rand() < 0.2;
	return '[' . quoted(pick('<', '<=')) . ', ' . number() . ']' if rand() < 0.3;
	my $lower = quoted(pick('>', '>=')) . ', ' . number();
	return "[$lower]" if rand() < 0.3;
	return "[$lower, " . quoted(pick('<', '<=')) . ', ' . number() . ']';
}

sub wildcard { return quoted(join('*', map { pick(@strings, 'a', 'b', '') } 0 .. int(rand(5)))) }
sub folded { return '{"equals-ignore-case": ' . string() . '}' }
sub one_or_list { my ($item) = @_; return rand() < 0.5 ? $item->() : list($item, 3) }

sub cidr
{
	return quoted(pick('10.0.0.0/8', '10.0.0.0/24', '0.0.0.0/0', '10.0.0.1/31', '2001:db8::/32', '::/0',
			'::ffff:10.0.0.0/104', '10.0.0.0/32', '1.2.3/8'));
}

sub negated
{
	return one_or_list(\&string) if rand() < 0.3;
	return one_or_list(\&number) if rand() < 0.3;
	my $operator = pick('prefix', 'suffix', 'equals-ignore-case', 'wildcard');
	return "{\"$operator\": " . one_or_list($operator eq 'wildcard' ? \&wildcard : \&string) . '}';
}

sub value
{
	return scalar_value() if rand() < 0.4;
	my %operands = (
		'prefix' => sub { rand() < 0.7 ? string() : folded() },
		'suffix' => sub { rand() < 0.7 ? string() : folded() },
		'equals-ignore-case' => \&string,
		'wildcard' => \&wildcard,
		'anything-but' => \&negated,
		'numeric' => \&numeric,
		'exists' => sub { pick('true', 'false') },
		'cidr' => \&cidr,
		'exactly' => \&string);
	my $operator = pick(sort keys %operands);
	return "{\"$operator\": " . $operands{$operator}->() . '}';
}

# A pattern, most of the time a valid one.
sub pattern
{
	my $depth = shift // 0;
	my @members;

	for (1 .. 1 + int(rand(3)))
	{
		if ($depth < 4 && rand() < 0.1)
		{
			push @members, '"$or": [' . join(', ', map { pattern($depth + 2) } 1 .. 2 + int(rand(2))) . ']';
		}
		elsif ($depth < 6 && rand() < 0.3) { push @members, name() . ': ' . pattern($depth + 1) }
		else { push @members, name() . ': ' . list(\&value, 3) }
	}
	return '{' . join(', ', @members) . '}';
}

sub event_value
{
	my ($depth) = @_;

	return scalar_value() if $depth > 5 || rand() < 0.5;
	return '[' . join(', ', map { event_value($depth + 1) } 1 .. int(rand(4))) . ']' if rand() < 0.5;
	return event($depth + 1);
}

# An event, as JSON text.
sub event
{
	my $depth = shift // 0;

	return '{' . join(', ', map { name() . ': ' . event_value($depth) } 1 .. 1 + int(rand(4))) . '}';
}

1;
