/*-------------------------------------------------------------------------
 *
 * listen.h
 *	  The command "listen".
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_LISTEN_H
#define EB_LISTEN_H

#include "options.h"
#include "worker.h"

extern EbExit eb_listen_run(const EbListenOptions *options);

#endif							/* EB_LISTEN_H */
