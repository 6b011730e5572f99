/*-------------------------------------------------------------------------
 *
 * options.h
 *	  The command line of eventbridge-worker.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_OPTIONS_H
#define EB_OPTIONS_H

#include "connection.h"
#include "fe_utils/simple_list.h"
#include "retry.h"

/* What "listen" was asked for. */
typedef struct EbListenOptions
{
	EbConnectionOptions connection;
	SimpleStringList channels;
	int			count;			/* 0: no end */
	int			timeout_ms;		/* 0: no end */
	bool		print;
	char	   *command;		/* NULL: none */
	char	   *webhook_url;	/* NULL: none */
	bool		payload_only;
	int			jobs;
	EbRetryPolicy policy;
	int			exec_timeout_ms;	/* 0: none */
	int			webhook_timeout_ms;
	int			stop_timeout_ms;
	bool		stop_on_failure;
} EbListenOptions;

/* What "run" was asked for. */
typedef struct EbRunOptions
{
	EbConnectionOptions connection;
	int			max_deliveries; /* in hand at once */
	int			jobs;			/* of them, under way at one destination */
	bool		once;
	SimpleStringList commands;	/* NAME=COMMAND */
	int			webhook_timeout_ms;
	int			command_timeout_ms; /* 0: none */
	int			stop_timeout_ms;
} EbRunOptions;

extern void eb_options_print_help(void);
extern void eb_options_print_common(void);
extern void eb_options_parse_listen(EbListenOptions *options,
									int argc, char **argv);
extern void eb_options_parse_run(EbRunOptions *options, int argc, char **argv);

/* for the commands' own parts */
extern void eb_options_usage_error(void);
extern int	eb_options_parse_count(const char *option, const char *text,
								   int min, int max);
extern int	eb_options_parse_seconds(const char *option, const char *text,
									 int min_ms);
extern void eb_options_take_common(EbConnectionOptions *connection, int opt);
extern void eb_options_take_names(EbConnectionOptions *connection,
								  int argc, char **argv);

#endif							/* EB_OPTIONS_H */
