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

/* Where messages go, and when to end: "listen" and "receive". */
typedef struct EbSinkOptions
{
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
} EbSinkOptions;

/* What "listen" was asked for. */
typedef struct EbListenOptions
{
	EbConnectionOptions connection;
	EbSinkOptions sinks;
	SimpleStringList channels;
	bool		stop_on_failure;
} EbListenOptions;

/* What "receive" was asked for. */
typedef struct EbReceiveOptions
{
	EbConnectionOptions connection;
	EbSinkOptions sinks;
	char	   *queue;
	bool		once;
	int			poll_ms;
	int			visibility_timeout; /* seconds */
} EbReceiveOptions;

/* What "run" was asked for. */
typedef struct EbRunOptions
{
	EbConnectionOptions connection;
	int			max_deliveries; /* in hand at once */
	int			jobs;			/* of them, under way at one destination */
	int			share;			/* workers that keep to one rate together */
	bool		once;
	bool		in_database;
	SimpleStringList commands;	/* NAME=COMMAND */
	int			webhook_timeout_ms;
	int			command_timeout_ms; /* 0: none */
	int			stop_timeout_ms;
} EbRunOptions;

extern void eb_options_print_help(void);
extern void eb_options_parse_listen(EbListenOptions *options,
									int argc, char **argv);
extern void eb_options_parse_receive(EbReceiveOptions *options,
									 int argc, char **argv);
extern void eb_options_parse_run(EbRunOptions *options, int argc, char **argv);

/*
 * The rest is for the commands' own parts.
 *
 * A command line is read by tables of long options.  Each says which field of
 * the table's target the option sets, and within which bounds; what else there
 * is to do, its function does.  The options of the connection need no table.
 */
typedef enum EbOptionKind
{
	EB_OPTION_FLAG,				/* bool; it takes no value */
	EB_OPTION_COUNT,			/* int: a whole number from min to max */
	EB_OPTION_SECONDS,			/* int: milliseconds, at least min */
	EB_OPTION_OTHER				/* the function takes the value */
} EbOptionKind;

typedef struct EbOption
{
	const char *name;			/* the last one of a table has none */
	EbOptionKind kind;
	size_t		field;			/* offset in the target */
	int			min;
	int			max;
	void		(*take) (void *target, char *value);
} EbOption;

typedef struct EbOptionTable
{
	const EbOption *options;
	void	   *target;
} EbOptionTable;

extern const EbOption eb_sink_options[];

extern void eb_options_read(const EbOptionTable *tables, int ntables,
							EbConnectionOptions *connection,
							void (*print_help) (void), int argc, char **argv);
extern void eb_options_usage_error(void);
extern void eb_options_print_common(void);

extern void eb_options_print_sinks(void);
extern void eb_options_print_attempts(void);
extern void eb_options_init_sinks(EbSinkOptions *options);
extern void eb_options_finish_sinks(EbSinkOptions *options);

#endif							/* EB_OPTIONS_H */
