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

extern void eb_options_print_help(void);
extern void eb_options_parse_listen(EbListenOptions *options,
									int argc, char **argv);

#endif							/* EB_OPTIONS_H */
