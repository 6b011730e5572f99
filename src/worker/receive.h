/*-------------------------------------------------------------------------
 *
 * receive.h
 *	  The command "receive".
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_RECEIVE_H
#define EB_RECEIVE_H

#include "options.h"
#include "worker.h"

extern EbExit eb_receive_run(const EbReceiveOptions *options);

#endif							/* EB_RECEIVE_H */
