#include "postgres.h"
#include "delivery/delivery.h"
void eb_bell_note_lane(Oid lane) {}
void eb_bell_pre_commit(bool prepare) {}
void eb_bell_end(bool committed) {}
