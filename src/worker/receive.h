/*-------------------------------------------------------------------------
 *
 * receive.h
 *	  The command "receive".
 *
 *-------------------------------------------------------------------------
 */
#ifndef EB_RECEIVE_H
#define EB_RECEIVE_H

#include "worker.h"

extern EbExit eb_receive_run(int argc, char **argv);

#endif							/* EB_RECEIVE_H */
