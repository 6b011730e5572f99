/*-------------------------------------------------------------------------
 *
 * options.c
 *	  The command line of eventbridge-worker.
 *
 * The connection options are psql's.  Whatever is wrong with an option is
 * said here, before anything is connected or started.
 *
 * A webhook's URL is a secret.  Given as --webhook it can be seen in the
 * list of processes until it is read here, where it is overwritten; given by
 * --webhook-env or --webhook-file it cannot be seen at all.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres_fe.h"

#include <math.h>

#include "common/string.h"
#include "getopt_long.h"
#include "http.h"
#include "log.h"
#include "options.h"
#include "worker.h"

/* Long options without a letter. */
enum
{
	OPT_CHANNEL = 1000,
	OPT_COUNT,
	OPT_TIMEOUT,
	OPT_PRINT,
	OPT_EXEC,
	OPT_WEBHOOK,
	OPT_WEBHOOK_ENV,
	OPT_WEBHOOK_FILE,
	OPT_PAYLOAD_ONLY,
	OPT_JOBS,
	OPT_RETRIES,
	OPT_RETRY_DELAY,
	OPT_RETRY_MAX_DELAY,
	OPT_EXEC_TIMEOUT,
	OPT_WEBHOOK_TIMEOUT,
	OPT_STOP_TIMEOUT,
	OPT_STOP_ON_FAILURE,
	OPT_HELP
};

static const struct option listen_options[] = {
	{"channel", required_argument, NULL, OPT_CHANNEL},
	{"count", required_argument, NULL, OPT_COUNT},
	{"timeout", required_argument, NULL, OPT_TIMEOUT},
	{"print", no_argument, NULL, OPT_PRINT},
	{"exec", required_argument, NULL, OPT_EXEC},
	{"webhook", required_argument, NULL, OPT_WEBHOOK},
	{"webhook-env", required_argument, NULL, OPT_WEBHOOK_ENV},
	{"webhook-file", required_argument, NULL, OPT_WEBHOOK_FILE},
	{"payload-only", no_argument, NULL, OPT_PAYLOAD_ONLY},
	{"jobs", required_argument, NULL, OPT_JOBS},
	{"retries", required_argument, NULL, OPT_RETRIES},
	{"retry-delay", required_argument, NULL, OPT_RETRY_DELAY},
	{"retry-max-delay", required_argument, NULL, OPT_RETRY_MAX_DELAY},
	{"exec-timeout", required_argument, NULL, OPT_EXEC_TIMEOUT},
	{"webhook-timeout", required_argument, NULL, OPT_WEBHOOK_TIMEOUT},
	{"stop-timeout", required_argument, NULL, OPT_STOP_TIMEOUT},
	{"stop-on-failure", no_argument, NULL, OPT_STOP_ON_FAILURE},
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

/* Prints what the program takes and does. */
void
eb_options_print_help(void)
{
	printf("%s brings PostgreSQL's notifications to commands and webhooks.\n\n", EB_PROGNAME);
	printf("Usage:\n"
		   "  %s listen [OPTION]... --channel=NAME... [DBNAME [USERNAME]]\n"
		   "  %s run [OPTION]... [DBNAME [USERNAME]]\n\n", EB_PROGNAME, EB_PROGNAME);
	printf("\"run\" delivers to the targets of rules that are webhooks and commands; see\n"
		   "\"%s run --help\". What follows is about \"listen\".\n\n", EB_PROGNAME);
	printf("Each message that is notified on a channel becomes one line of JSON:\n"
		   "  {\"channel\":\"...\",\"pid\":...,\"payload\":...,\"received\":\"...\"}\n"
		   "A payload that is JSON stands there as JSON, any other as a string.\n\n");
	printf("What to listen to:\n");
	printf("      --channel=NAME       listen on this channel; may be given several times\n"
		   "                           (NAME is taken as it is: upper case stays)\n");
	printf("      --count=N            stop after N messages\n");
	printf("      --timeout=SECONDS    stop after this time\n");
	printf("\nWhere messages go:\n");
	printf("      --print              print them; this is what is done if neither a\n"
		   "                           command nor a webhook is given\n");
	printf("      --exec=COMMAND       run COMMAND by the shell for each, message on its\n"
		   "                           standard input\n");
	printf("      --webhook=URL        post the payload to URL (a payload that is not JSON\n"
		   "                           as {\"text\":\"...\"})\n");
	printf("      --webhook-env=VAR    the same, the URL stands in an environment variable\n");
	printf("      --webhook-file=FILE  the same, the URL stands in a file\n");
	printf("      --payload-only       print, or give to the command, the bare payload\n");
	printf("      --jobs=N             messages in hand at once (default: 1, which keeps\n"
		   "                           their order)\n");
	printf("\nFailures:\n");
	printf("      --retries=N          attempts after the first one (default: 8)\n");
	printf("      --retry-delay=SECONDS\n"
		   "                           wait before the first of them, doubled for each\n"
		   "                           further one, less a random part (default: 1)\n");
	printf("      --retry-max-delay=SECONDS\n"
		   "                           longest such wait (default: 60)\n");
	printf("      --exec-timeout=SECONDS\n"
		   "                           end a command after this time (default: 60; 0: never)\n");
	printf("      --webhook-timeout=SECONDS\n"
		   "                           end a request after this time (default: 30)\n");
	printf("      --stop-on-failure    stop when a message had to be given up\n");
	printf("      --stop-timeout=SECONDS\n"
		   "                           when stopping, give up after this time what is not\n"
		   "                           delivered (default: 60)\n");
	eb_options_print_common();
	printf("\nA command that ends with status 0 has taken the message; 126 and 127 are not\n"
		   "tried again, any other is.  A webhook that answers 2xx has taken it; 408, 429,\n"
		   "5xx and no answer are tried again, not before the time that Retry-After asks\n"
		   "for; any other answer is not.\n");
	printf("\nSIGTERM and SIGINT stop the program after it has delivered what it holds; a\n"
		   "second one stops it at once.\n");
	printf("\nExit status:\n"
		   "  0  stopped by a signal, --count or --timeout, and everything was delivered\n"
		   "  1  wrong option, or no resources left\n"
		   "  2  no connection could be made at start\n"
		   "  3  a message had to be given up\n"
		   "  4  --timeout came before --count was reached\n"
		   "  5  stopped at once by a second signal\n");
}

/* Ends the program because of a mistake on the command line. */
void
eb_options_usage_error(void)
{
	pg_log_error_hint("Try \"%s --help\" for more information.", EB_PROGNAME);
	exit(EB_EXIT_USAGE);
}

/* A whole number within bounds. */
int
eb_options_parse_count(const char *option, const char *text, int min, int max)
{
	char	   *end;
	long		value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (end == text || *end != '\0' || errno != 0 || value < min || value > max)
	{
		pg_log_error("invalid value \"%s\" for option --%s", text, option);
		pg_log_error_detail("It must be a whole number from %d to %d.", min, max);
		eb_options_usage_error();
	}
	return (int) value;
}

/* A time in seconds, fractions allowed, as milliseconds. */
int
eb_options_parse_seconds(const char *option, const char *text, int min_ms)
{
	const int	max_seconds = 1000000;
	char	   *end;
	double		value;

	errno = 0;
	value = strtod(text, &end);
	if (end == text || *end != '\0' || errno != 0 || isnan(value) ||
		value * 1000 < min_ms || value > max_seconds)
	{
		pg_log_error("invalid value \"%s\" for option --%s", text, option);
		pg_log_error_detail("It must be a number of seconds from %g to %d.",
							min_ms / 1000.0, max_seconds);
		eb_options_usage_error();
	}
	return (int) (value * 1000);
}

static void
add_channel(EbListenOptions *options, const char *name)
{
	if (*name == '\0')
	{
		pg_log_error("channel name must not be empty");
		eb_options_usage_error();
	}
	if (strlen(name) >= NAMEDATALEN)
	{
		pg_log_error("channel name \"%s\" is too long", name);
		pg_log_error_detail("It must be shorter than %d bytes.", NAMEDATALEN);
		eb_options_usage_error();
	}
	if (!simple_string_list_member(&options->channels, name))
		simple_string_list_append(&options->channels, name);
}

/* Takes a webhook's URL; where it comes from is said in messages. */
static void
set_webhook(EbListenOptions *options, char *url, const char *where)
{
	const char *reason;

	if (options->webhook_url)
	{
		pg_log_error("only one webhook can be given");
		eb_options_usage_error();
	}
	if (!eb_http_check_url(url, &reason))
	{
		/* the URL is not shown: it may be right but for one letter */
		pg_log_error("cannot use the webhook URL from %s: %s", where, reason);
		eb_options_usage_error();
	}
	options->webhook_url = url;
}

static void
set_webhook_from_env(EbListenOptions *options, const char *name)
{
	const char *value = getenv(name);
	char	   *url;

	if (value == NULL || *value == '\0')
	{
		pg_log_error("environment variable \"%s\" is not set", name);
		eb_options_usage_error();
	}
	url = pg_strdup(value);

	/* The commands that we start have no need of it. */
	unsetenv(name);
	set_webhook(options, url, "the environment");
}

/* The URL is the file's first line. */
static void
set_webhook_from_file(EbListenOptions *options, const char *path)
{
	FILE	   *file = fopen(path, "r");
	char		line[8192] = "";
	size_t		len;

	if (file == NULL)
	{
		pg_log_error("could not open file \"%s\": %m", path);
		exit(EB_EXIT_USAGE);
	}
	if (fgets(line, sizeof(line), file) == NULL && ferror(file))
	{
		pg_log_error("could not read file \"%s\": %m", path);
		exit(EB_EXIT_USAGE);
	}
	fclose(file);
	len = strlen(line);
	while (len > 0 && strchr(" \t\r\n", line[len - 1]))
		line[--len] = '\0';
	set_webhook(options, pg_strdup(line), "the file");
}

/* The last one given counts. */
static void
set_string(char **field, const char *value)
{
	free(*field);
	*field = pg_strdup(value);
}

/* Takes an option that every command has. */
void
eb_options_take_common(EbConnectionOptions *connection, int opt)
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
			pg_logging_set_level(PG_LOG_WARNING);
			break;
		case 'v':
			pg_logging_set_level(PG_LOG_DEBUG);
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
void
eb_options_take_names(EbConnectionOptions *connection, int argc, char **argv)
{
	if (optind < argc && connection->dbname == NULL)
		connection->dbname = pg_strdup(argv[optind++]);
	if (optind < argc && connection->username == NULL)
		connection->username = pg_strdup(argv[optind++]);
	if (optind < argc)
	{
		pg_log_error("too many command-line arguments (first is \"%s\")",
					 argv[optind]);
		eb_options_usage_error();
	}
}

/* Takes one option of "listen". */
static void
take_listen_option(EbListenOptions *options, int opt, const char *name)
{
	switch (opt)
	{
		case OPT_CHANNEL:
			add_channel(options, optarg);
			break;
		case OPT_COUNT:
			options->count = eb_options_parse_count(name, optarg, 1, PG_INT32_MAX);
			break;
		case OPT_TIMEOUT:
			options->timeout_ms = eb_options_parse_seconds(name, optarg, 1);
			break;
		case OPT_PRINT:
			options->print = true;
			break;
		case OPT_EXEC:
			if (options->command)
			{
				pg_log_error("only one command can be given");
				eb_options_usage_error();
			}
			options->command = pg_strdup(optarg);
			break;
		case OPT_WEBHOOK:
			set_webhook(options, pg_strdup(optarg), "the command line");
			memset(optarg, 'x', strlen(optarg));
			break;
		case OPT_WEBHOOK_ENV:
			set_webhook_from_env(options, optarg);
			break;
		case OPT_WEBHOOK_FILE:
			set_webhook_from_file(options, optarg);
			break;
		case OPT_PAYLOAD_ONLY:
			options->payload_only = true;
			break;
		case OPT_JOBS:
			options->jobs = eb_options_parse_count(name, optarg, 1, 1000);
			break;
		case OPT_RETRIES:
			options->policy.max_retries = eb_options_parse_count(name, optarg, 0, 1000);
			break;
		case OPT_RETRY_DELAY:
			options->policy.first_delay_ms = eb_options_parse_seconds(name, optarg, 1);
			break;
		case OPT_RETRY_MAX_DELAY:
			options->policy.max_delay_ms = eb_options_parse_seconds(name, optarg, 1);
			break;
		case OPT_EXEC_TIMEOUT:
			options->exec_timeout_ms = eb_options_parse_seconds(name, optarg, 0);
			break;
		case OPT_WEBHOOK_TIMEOUT:
			options->webhook_timeout_ms = eb_options_parse_seconds(name, optarg, 1);
			break;
		case OPT_STOP_TIMEOUT:
			options->stop_timeout_ms = eb_options_parse_seconds(name, optarg, 0);
			break;
		case OPT_STOP_ON_FAILURE:
			options->stop_on_failure = true;
			break;
		default:
			eb_options_take_common(&options->connection, opt);
	}
}

/*
 * Reads the options of "listen", which follow argv[0].  Ends the program
 * if they are wrong, or ask for no more than help or the version.
 */
void
eb_options_parse_listen(EbListenOptions *options, int argc, char **argv)
{
	int			opt;
	int			index = 0;

	memset(options, 0, sizeof(*options));
	options->jobs = 1;
	options->policy.max_retries = 8;
	options->policy.first_delay_ms = 1000;
	options->policy.max_delay_ms = 60000;
	options->exec_timeout_ms = 60000;
	options->webhook_timeout_ms = 30000;
	options->stop_timeout_ms = 60000;

	while ((opt = getopt_long(argc, argv, "d:h:p:U:wWqvV?", listen_options,
							  &index)) != -1)
	{
		/* getopt answers '?' for a mistake, too */
		if (opt == OPT_HELP ||
			(opt == '?' && strcmp(argv[optind - 1], "-?") == 0))
		{
			eb_options_print_help();
			exit(EB_EXIT_OK);
		}
		take_listen_option(options, opt, listen_options[index].name);
	}

	eb_options_take_names(&options->connection, argc, argv);
	if (options->channels.head == NULL)
	{
		pg_log_error("no channel given");
		eb_options_usage_error();
	}
	if (options->command == NULL && options->webhook_url == NULL)
		options->print = true;
	options->policy.max_delay_ms = Max(options->policy.max_delay_ms,
									   options->policy.first_delay_ms);
}
