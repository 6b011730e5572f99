/*-------------------------------------------------------------------------
 *
 * run.h
 *	  The command "run".
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_RUN_H
#define EB_RUN_H

#include "options.h"
#include "worker.h"

extern EbExit eb_run_run(const EbRunOptions *options);

#endif							/* EB_RUN_H */
