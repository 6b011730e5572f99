/*-------------------------------------------------------------------------
 *
 * listen.h
 *	  The command "listen".
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_LISTEN_H
#define EB_LISTEN_H

#include "worker.h"

extern EbExit eb_listen_run(int argc, char **argv);

#endif							/* EB_LISTEN_H */
