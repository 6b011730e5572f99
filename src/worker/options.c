/*-------------------------------------------------------------------------
 *
 * options.c
 *	  The command line of eventbridge-worker: what all commands share.
 *
 * The connection options are psql's.  Whatever is wrong with an option is
 * said here, before anything is connected or started.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <math.h>

#include "getopt_long.h"
#include "log.h"
#include "options.h"
#include "worker.h"

/* What getopt answers: a letter, or one of these. */
#define OPT_HELP	1
#define OPT_FIRST	1000		/* of those in the tables of a command */

#define MAX_OPTIONS 64

static const struct option common_options[] = {
	{"dbname", required_argument, NULL, 'd'},
	{"host", required_argument, NULL, 'h'},
	{"port", required_argument, NULL, 'p'},
	{"username", required_argument, NULL, 'U'},
	{"no-password", no_argument, NULL, 'w'},
	{"password", no_argument, NULL, 'W'},
	{"quiet", no_argument, NULL, 'q'},
	{"verbose", no_argument, NULL, 'v'},
	{"version", no_argument, NULL, 'V'},
	{"help", no_argument, NULL, OPT_HELP},
	{NULL, 0, NULL, 0}
};

/* Prints the options that every command has. */
void
eb_options_print_common(void)
{
	printf("\nConnection options:\n");
	printf("  -d, --dbname=DBNAME      database name, connection string or URI\n");
	printf("  -h, --host=HOSTNAME      database server host or socket directory\n");
	printf("  -p, --port=PORT          database server port\n");
	printf("  -U, --username=USERNAME  database user name\n");
	printf("  -w, --no-password        never prompt for password\n");
	printf("  -W, --password           force password prompt\n");
	printf("\nOther options:\n");
	printf("  -q, --quiet              log warnings and errors only\n");
	printf("  -v, --verbose            log more\n");
	printf("  -V, --version            output version information, then exit\n");
	printf("  -?, --help               show this help, then exit\n");
}

/* Prints what the program is for. */
void
eb_options_print_help(void)
{
	printf("%s brings what happens in a PostgreSQL database out of it.\n\n", EB_PROGNAME);
	printf("Usage:\n"
		   "  %s listen [OPTION]... --channel=NAME... [DBNAME [USERNAME]]\n"
		   "  %s receive [OPTION]... --queue=NAME [DBNAME [USERNAME]]\n"
		   "  %s run [OPTION]... [DBNAME [USERNAME]]\n\n",
		   EB_PROGNAME, EB_PROGNAME, EB_PROGNAME);
	printf("Commands:\n"
		   "  listen     notifications, to standard output, commands and webhooks\n"
		   "  receive    the messages of a queue, to the same\n"
		   "  run        the deliveries of rules to API destinations and tasks\n\n");
	printf("\"%s COMMAND --help\" shows a command's options.\n\n", EB_PROGNAME);
	printf("  -V, --version            output version information, then exit\n");
	printf("  -?, --help               show this help, then exit\n");
}

/* Ends the program because of a mistake on the command line. */
void
eb_options_usage_error(void)
{
	eb_log_error_hint("Try \"%s --help\" for more information.", EB_PROGNAME);
	exit(EB_EXIT_USAGE);
}

/* A whole number within bounds. */
static int
parse_count(const char *option, const char *text, int min, int max)
{
	char	   *end;
	long		value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (end == text || *end != '\0' || errno != 0 || value < min || value > max)
	{
		eb_log_error("invalid value \"%s\" for option --%s", text, option);
		eb_log_error_detail("It must be a whole number from %d to %d.", min, max);
		eb_options_usage_error();
	}
	return (int) value;
}

/*
 * A time in seconds, fractions allowed, as milliseconds.  It is rounded up: 0
 * may have a meaning of its own, which a short time must not get.
 */
static int
parse_seconds(const char *option, const char *text, int min_ms)
{
	const int	max_seconds = 1000000;
	char	   *end;
	double		value;

	errno = 0;
	value = strtod(text, &end);
	if (end == text || *end != '\0' || errno != 0 || isnan(value) ||
		value * 1000 < min_ms || value > max_seconds)
	{
		eb_log_error("invalid value \"%s\" for option --%s", text, option);
		eb_log_error_detail("It must be a number of seconds from %g to %d.",
							min_ms / 1000.0, max_seconds);
		eb_options_usage_error();
	}
	return (int) ceil(value * 1000);
}

/* The last one given counts. */
static void
set_string(char **field, const char *value)
{
	free(*field);
	*field = pg_strdup(value);
}

/* Takes an option that every command has. */
static void
take_common(EbConnectionOptions *connection, int opt)
{
	switch (opt)
	{
		case 'd':
			set_string(&connection->dbname, optarg);
			break;
		case 'h':
			set_string(&connection->host, optarg);
			break;
		case 'p':
			set_string(&connection->port, optarg);
			break;
		case 'U':
			set_string(&connection->username, optarg);
			break;
		case 'w':
			connection->prompt = EB_PROMPT_NEVER;
			break;
		case 'W':
			connection->prompt = EB_PROMPT_ALWAYS;
			break;
		case 'q':
			eb_log_set_level(EB_LOG_WARNING);
			break;
		case 'v':
			eb_log_set_level(EB_LOG_DEBUG);
			break;
		case 'V':
			printf("%s %s\n", EB_PROGNAME, EVENTBRIDGE_VERSION);
			exit(EB_EXIT_OK);
		default:
			/* getopt has said what is wrong */
			eb_options_usage_error();
	}
}

/* Takes what follows the options: the database, and the user. */
static void
take_names(EbConnectionOptions *connection, int argc, char **argv)
{
	if (optind < argc && connection->dbname == NULL)
		connection->dbname = pg_strdup(argv[optind++]);
	if (optind < argc && connection->username == NULL)
		connection->username = pg_strdup(argv[optind++]);
	if (optind < argc)
	{
		eb_log_error("too many command-line arguments (first is \"%s\")",
					 argv[optind]);
		eb_options_usage_error();
	}
}

/* Takes an option of a table. */
static void
take_option(const EbOption *option, void *target)
{
	void	   *field = (char *) target + option->field;

	switch (option->kind)
	{
		case EB_OPTION_FLAG:
			*(bool *) field = true;
			break;
		case EB_OPTION_COUNT:
			*(int *) field = parse_count(option->name, optarg,
										 option->min, option->max);
			break;
		case EB_OPTION_SECONDS:
			*(int *) field = parse_seconds(option->name, optarg, option->min);
			break;
		case EB_OPTION_OTHER:
			option->take(target, optarg);
			break;
	}
}

/*
 * Reads a command's options, which follow argv[0].  Ends the program if they
 * are wrong, or ask for no more than help or the version.
 */
void
eb_options_read(const EbOptionTable *tables, int ntables,
				EbConnectionOptions *connection, void (*print_help) (void),
				int argc, char **argv)
{
	struct option all[MAX_OPTIONS + lengthof(common_options)] = {{0}};
	const EbOption *options[MAX_OPTIONS];
	void	   *targets[MAX_OPTIONS];
	int			n = 0;
	int			opt;

	for (int i = 0; i < ntables; i++)
		for (const EbOption *option = tables[i].options; option->name; option++)
		{
			Assert(n < MAX_OPTIONS);
			options[n] = option;
			targets[n] = tables[i].target;
			all[n].name = option->name;
			all[n].has_arg = option->kind == EB_OPTION_FLAG ? no_argument :
				required_argument;
			all[n].val = OPT_FIRST + n;
			n++;
		}
	memcpy(all + n, common_options, sizeof(common_options));

	while ((opt = getopt_long(argc, argv, "d:h:p:U:wWqvV?", all, NULL)) != -1)
	{
		/* getopt answers '?' for a mistake, too */
		if (opt == OPT_HELP ||
			(opt == '?' && strcmp(argv[optind - 1], "-?") == 0))
		{
			print_help();
			exit(EB_EXIT_OK);
		}
		if (opt >= OPT_FIRST)
			take_option(options[opt - OPT_FIRST], targets[opt - OPT_FIRST]);
		else
			take_common(connection, opt);
	}
	take_names(connection, argc, argv);
}
