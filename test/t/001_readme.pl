# README.md tells the truth: its SQL runs and answers what stands there, its
# reference has an entry for everything the extension creates and for nothing
# else, and its table of options has all of eventbridge-worker's.
#
# Internal functions, whose names begin with an underscore, and the sequences of
# identity columns have no entry.
use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $readme = slurp_file("$FindBin::RealBin/../../README.md");

my $node = PostgreSQL::Test::Cluster->new('readme');
$node->init;
$node->start;
$node->safe_psql('postgres',
	q{CREATE DATABASE readme ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0});

#
# The SQL.  A block that begins with "```sql" is run, all of them in one
# session; if a block without a language follows, it is the answer.
#
my @blocks;
while ($readme =~ /^```sql\n(.*?)^```\n(?:\s*^```\n(.*?)^```\n)?/msg)
{
	push @blocks,
	  {
		line => 1 + (substr($readme, 0, $-[0]) =~ tr/\n//),
		sql => $1,
		answer => $2
	  };
}
cmp_ok(scalar(@blocks), '>', 10, 'README has examples');

my $input = join '', map { "$_->{sql}\\echo #end#\n" } @blocks;
my $output = '';
{
	local $ENV{PGCLIENTENCODING} = 'UTF8';
	local $ENV{PGTZ} = 'UTC';
	IPC::Run::run([ 'psql', '-X', '-q', '-v', 'SHOW_CONTEXT=never', '-d', $node->connstr('readme') ],
		'<', \$input, '>&', \$output)
	  or die 'psql failed';
}

# White space at the end of lines, and empty lines, have no meaning here.
sub normal
{
	my ($text) = @_;
	$text =~ s/[ \t]+$//mg;
	$text =~ s/\n+/\n/g;
	return $text;
}

my @answers = split /^#end#\n/m, $output;
foreach my $block (@blocks)
{
	my $answer = shift(@answers) // '';
	if (defined $block->{answer})
	{
		is(normal($answer), normal($block->{answer}), "example at line $block->{line}");
	}
	else
	{
		unlike($answer, qr/^(ERROR|WARNING|FATAL):/m, "example at line $block->{line}");
	}
}

#
# The reference: each entry is a line that begins with "- `signature`".
#
my ($reference) = $readme =~ /^## Reference\n(.*?)^## /ms;
my @entries = sort($reference =~ /^- `(.*?)`/mg);

my @objects = sort split /\n/, $node->safe_psql(
	'readme', q{
	SET search_path = eventbridge, pg_catalog;
	WITH member AS (
		SELECT d.classid, d.objid
		FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
		WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'eventbridge'
		  AND NOT EXISTS (SELECT FROM pg_proc WHERE ('pg_proc'::regclass, oid) = (d.classid, d.objid) AND proname LIKE '\\_%')
		  AND NOT EXISTS (SELECT FROM pg_depend i WHERE (i.classid, i.objid) = (d.classid, d.objid) AND i.deptype = 'i'))
	-- functions, with names of arguments and defaults, these without casts
	SELECT format('%s(%s)', proname, regexp_replace(pg_get_function_arguments(oid), '::[a-z_ ]+(\[\])?', '', 'g'))
		|| coalesce(' → ' || pg_get_function_result(oid), '')
	FROM pg_proc WHERE ('pg_proc'::regclass, oid) IN (TABLE member) AND prokind <> 'a'
	UNION ALL
	SELECT format('%s(%s) → %s', proname, pg_get_function_arguments(oid), pg_get_function_result(oid))
	FROM pg_proc WHERE ('pg_proc'::regclass, oid) IN (TABLE member) AND prokind = 'a'
	UNION ALL
	SELECT concat_ws(' ', nullif(oprleft, 0)::regtype, oprname, oprright::regtype, '→', oprresult::regtype)
	FROM pg_operator WHERE ('pg_operator'::regclass, oid) IN (TABLE member)
	UNION ALL
	SELECT format('%s AS %s', castsource::regtype, casttarget::regtype)
	FROM pg_cast WHERE ('pg_cast'::regclass, oid) IN (TABLE member)
	UNION ALL
	SELECT format('%s USING %s', opcname, amname)
	FROM pg_opclass JOIN pg_am ON pg_am.oid = opcmethod WHERE ('pg_opclass'::regclass, pg_opclass.oid) IN (TABLE member)
	UNION ALL
	SELECT typname
	FROM pg_type WHERE ('pg_type'::regclass, oid) IN (TABLE member)
	UNION ALL
	SELECT relname
	FROM pg_class WHERE ('pg_class'::regclass, oid) IN (TABLE member) AND relkind <> 'c'
	UNION ALL
	SELECT name
	FROM pg_settings WHERE name LIKE 'eventbridge.%'
	  AND matches('{"a": 1}', '{"a": [1]}')	-- has the library loaded
});
@objects = grep { $_ ne '' } @objects;

my %entry = map { $_ => 1 } @entries;
my %object = map { $_ => 1 } @objects;
is(join("\n", grep { !$entry{$_} } @objects), '', 'every object has an entry in the reference');
is(join("\n", grep { !$object{$_} } @entries), '', 'every entry of the reference is of an object');
is(scalar(@entries), scalar(keys %entry), 'no entry twice');

# Links within the page lead somewhere.
my %anchor;
foreach my $heading ($readme =~ /^#+ (.*)$/mg)
{
	my $anchor = lc $heading;
	$anchor =~ s/[^a-z0-9 _-]//g;
	$anchor =~ s/ /-/g;
	$anchor{$anchor} = 1;
}
is(join(' ', grep { !$anchor{$_} } $readme =~ /\]\(#(.*?)\)/g), '', 'links lead to headings');

#
# The worker's options.
#
SKIP:
{
	my ($help, $errors) = ('', '');
	eval {
		IPC::Run::run([ 'eventbridge-worker', $_, '--help' ], '>>', \$help, '2>', \$errors)
		  foreach ('listen', 'receive', 'run');
		1;
	  }
	  or skip 'eventbridge-worker is not built', 1;

	my %option = map { $_ => 1 } $readme =~ /(--[a-z][a-z-]*)/g;
	my %missing = map { $_ => 1 } grep { !$option{$_} } $help =~ /^ +(?:-\w, +)?(--[a-z][a-z-]*)/mg;
	is(join(' ', sort keys %missing), '', 'every option of eventbridge-worker is described');
}

$node->stop;
done_testing();
