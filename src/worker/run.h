/*-------------------------------------------------------------------------
 *
 * run.h
 *	  The command "run".
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_RUN_H
#define EB_RUN_H

#include "worker.h"

extern EbExit eb_run_run(int argc, char **argv);

#endif							/* EB_RUN_H */
