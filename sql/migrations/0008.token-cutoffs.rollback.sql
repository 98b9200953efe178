set local lock_timeout = '3s';

drop table if exists token_cutoffs;
