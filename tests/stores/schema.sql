-- sqlite
CREATE TABLE aplus_moments (
shop VARCHAR(64) NOT NULL,
name VARCHAR(32) NOT NULL,
at DATETIME NOT NULL,
PRIMARY KEY (shop, name)
);
CREATE TABLE aplus_payments (
shop VARCHAR(64) NOT NULL,
payment_request_id VARCHAR(64) NOT NULL,
order_ref VARCHAR(64) NOT NULL,
occupied_order VARCHAR(64),
client_id VARCHAR(128) NOT NULL,
state VARCHAR(16) NOT NULL,
currency VARCHAR(3) NOT NULL,
amount_value BIGINT NOT NULL,
request_body BLOB NOT NULL,
created_at DATETIME NOT NULL,
expires_at DATETIME NOT NULL,
next_call_at DATETIME,
changed_at DATETIME NOT NULL,
payment_id TEXT,
order_code TEXT,
result TEXT,
payment_time TEXT,
wallet TEXT,
claim INTEGER NOT NULL,
claimed_until DATETIME,
success_reported BOOLEAN NOT NULL,
disputed TEXT,
refunded BIGINT NOT NULL,
last_answer VARCHAR(32),
wallet_key VARCHAR(128),
attention VARCHAR(1),
stage VARCHAR(16),
PRIMARY KEY (shop, payment_request_id),
CONSTRAINT uq_aplus_payments_occupied_order UNIQUE (shop, occupied_order)
);
CREATE INDEX ix_aplus_payments_attention ON aplus_payments (shop, attention, created_at, payment_request_id) WHERE attention IS NOT NULL;
CREATE INDEX ix_aplus_payments_due ON aplus_payments (next_call_at);
CREATE INDEX ix_aplus_payments_list ON aplus_payments (shop, client_id, state, created_at, payment_request_id);
CREATE INDEX ix_aplus_payments_order ON aplus_payments (shop, order_ref, created_at);
CREATE INDEX ix_aplus_payments_stage ON aplus_payments (shop, stage, changed_at, payment_request_id) WHERE stage IS NOT NULL;
CREATE INDEX ix_aplus_payments_wallet ON aplus_payments (shop, wallet_key, client_id, state, created_at, payment_request_id) WHERE wallet_key IS NOT NULL;
CREATE TABLE aplus_schema (
version INTEGER NOT NULL
);
CREATE TABLE aplus_conflicts (
id INTEGER NOT NULL,
shop VARCHAR(64) NOT NULL,
payment_request_id VARCHAR(64) NOT NULL,
"key" VARCHAR(32) NOT NULL,
reason TEXT NOT NULL,
details TEXT NOT NULL,
unreported VARCHAR(1),
unresolved VARCHAR(1),
resolved_at DATETIME,
resolved_by TEXT,
note TEXT,
PRIMARY KEY (id),
CONSTRAINT fk_aplus_conflicts_payment FOREIGN KEY(shop, payment_request_id) REFERENCES aplus_payments (shop, payment_request_id),
CONSTRAINT uq_aplus_conflicts_key UNIQUE (shop, "key")
);
CREATE INDEX ix_aplus_conflicts_payment ON aplus_conflicts (shop, payment_request_id);
CREATE INDEX ix_aplus_conflicts_unreported ON aplus_conflicts (unreported);
CREATE INDEX ix_aplus_conflicts_unresolved ON aplus_conflicts (shop, unresolved, id) WHERE unresolved IS NOT NULL;
CREATE TABLE aplus_observations (
id INTEGER NOT NULL,
shop VARCHAR(64) NOT NULL,
payment_request_id VARCHAR(64) NOT NULL,
source VARCHAR(16) NOT NULL,
details TEXT NOT NULL,
count INTEGER NOT NULL,
first_at DATETIME NOT NULL,
PRIMARY KEY (id),
CONSTRAINT fk_aplus_observations_payment FOREIGN KEY(shop, payment_request_id) REFERENCES aplus_payments (shop, payment_request_id)
);
CREATE INDEX ix_aplus_observations_payment ON aplus_observations (shop, payment_request_id, id);
CREATE INDEX ix_aplus_observations_source ON aplus_observations (shop, source, id);
CREATE TABLE aplus_refunds (
id INTEGER NOT NULL,
shop VARCHAR(64) NOT NULL,
payment_request_id VARCHAR(64) NOT NULL,
refund_request_id VARCHAR(64) NOT NULL,
client_id VARCHAR(128) NOT NULL,
state VARCHAR(16) NOT NULL,
currency VARCHAR(3) NOT NULL,
amount_value BIGINT NOT NULL,
reason TEXT,
request_body BLOB NOT NULL,
created_at DATETIME NOT NULL,
next_call_at DATETIME,
changed_at DATETIME NOT NULL,
refund_id TEXT,
result TEXT,
claim INTEGER NOT NULL,
claimed_until DATETIME,
PRIMARY KEY (id),
CONSTRAINT fk_aplus_refunds_payment FOREIGN KEY(shop, payment_request_id) REFERENCES aplus_payments (shop, payment_request_id),
CONSTRAINT uq_aplus_refunds_refund_request_id UNIQUE (shop, refund_request_id)
);
CREATE INDEX ix_aplus_refunds_due ON aplus_refunds (next_call_at);
CREATE INDEX ix_aplus_refunds_payment ON aplus_refunds (shop, payment_request_id);

-- postgresql
CREATE TABLE aplus_moments (
shop VARCHAR(64) NOT NULL,
name VARCHAR(32) NOT NULL,
at TIMESTAMP WITH TIME ZONE NOT NULL,
PRIMARY KEY (shop, name)
);
CREATE TABLE aplus_payments (
shop VARCHAR(64) NOT NULL,
payment_request_id VARCHAR(64) NOT NULL,
order_ref VARCHAR(64) NOT NULL,
occupied_order VARCHAR(64),
client_id VARCHAR(128) NOT NULL,
state VARCHAR(16) NOT NULL,
currency VARCHAR(3) NOT NULL,
amount_value BIGINT NOT NULL,
request_body BYTEA NOT NULL,
created_at TIMESTAMP WITH TIME ZONE NOT NULL,
expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
next_call_at TIMESTAMP WITH TIME ZONE,
changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
payment_id TEXT,
order_code TEXT,
result TEXT,
payment_time TEXT,
wallet TEXT,
claim INTEGER NOT NULL,
claimed_until TIMESTAMP WITH TIME ZONE,
success_reported BOOLEAN NOT NULL,
disputed TEXT,
refunded BIGINT NOT NULL,
last_answer VARCHAR(32),
wallet_key VARCHAR(128),
attention VARCHAR(1),
stage VARCHAR(16),
PRIMARY KEY (shop, payment_request_id),
CONSTRAINT uq_aplus_payments_occupied_order UNIQUE (shop, occupied_order)
);
CREATE INDEX ix_aplus_payments_attention ON aplus_payments (shop, attention, created_at, payment_request_id) WHERE attention IS NOT NULL;
CREATE INDEX ix_aplus_payments_due ON aplus_payments (next_call_at);
CREATE INDEX ix_aplus_payments_list ON aplus_payments (shop, client_id, state, created_at, payment_request_id);
CREATE INDEX ix_aplus_payments_order ON aplus_payments (shop, order_ref, created_at);
CREATE INDEX ix_aplus_payments_stage ON aplus_payments (shop, stage, changed_at, payment_request_id) WHERE stage IS NOT NULL;
CREATE INDEX ix_aplus_payments_wallet ON aplus_payments (shop, wallet_key, client_id, state, created_at, payment_request_id) WHERE wallet_key IS NOT NULL;
CREATE TABLE aplus_schema (
version INTEGER NOT NULL
);
CREATE TABLE aplus_conflicts (
id BIGSERIAL NOT NULL,
shop VARCHAR(64) NOT NULL,
payment_request_id VARCHAR(64) NOT NULL,
key VARCHAR(32) NOT NULL,
reason TEXT NOT NULL,
details TEXT NOT NULL,
unreported VARCHAR(1),
unresolved VARCHAR(1),
resolved_at TIMESTAMP WITH TIME ZONE,
resolved_by TEXT,
note TEXT,
PRIMARY KEY (id),
CONSTRAINT fk_aplus_conflicts_payment FOREIGN KEY(shop, payment_request_id) REFERENCES aplus_payments (shop, payment_request_id),
CONSTRAINT uq_aplus_conflicts_key UNIQUE (shop, key)
);
CREATE INDEX ix_aplus_conflicts_payment ON aplus_conflicts (shop, payment_request_id);
CREATE INDEX ix_aplus_conflicts_unreported ON aplus_conflicts (unreported);
CREATE INDEX ix_aplus_conflicts_unresolved ON aplus_conflicts (shop, unresolved, id) WHERE unresolved IS NOT NULL;
CREATE TABLE aplus_observations (
id BIGSERIAL NOT NULL,
shop VARCHAR(64) NOT NULL,
payment_request_id VARCHAR(64) NOT NULL,
source VARCHAR(16) NOT NULL,
details TEXT NOT NULL,
count INTEGER NOT NULL,
first_at TIMESTAMP WITH TIME ZONE NOT NULL,
PRIMARY KEY (id),
CONSTRAINT fk_aplus_observations_payment FOREIGN KEY(shop, payment_request_id) REFERENCES aplus_payments (shop, payment_request_id)
);
CREATE INDEX ix_aplus_observations_payment ON aplus_observations (shop, payment_request_id, id);
CREATE INDEX ix_aplus_observations_source ON aplus_observations (shop, source, id);
CREATE TABLE aplus_refunds (
id BIGSERIAL NOT NULL,
shop VARCHAR(64) NOT NULL,
payment_request_id VARCHAR(64) NOT NULL,
refund_request_id VARCHAR(64) NOT NULL,
client_id VARCHAR(128) NOT NULL,
state VARCHAR(16) NOT NULL,
currency VARCHAR(3) NOT NULL,
amount_value BIGINT NOT NULL,
reason TEXT,
request_body BYTEA NOT NULL,
created_at TIMESTAMP WITH TIME ZONE NOT NULL,
next_call_at TIMESTAMP WITH TIME ZONE,
changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
refund_id TEXT,
result TEXT,
claim INTEGER NOT NULL,
claimed_until TIMESTAMP WITH TIME ZONE,
PRIMARY KEY (id),
CONSTRAINT fk_aplus_refunds_payment FOREIGN KEY(shop, payment_request_id) REFERENCES aplus_payments (shop, payment_request_id),
CONSTRAINT uq_aplus_refunds_refund_request_id UNIQUE (shop, refund_request_id)
);
CREATE INDEX ix_aplus_refunds_due ON aplus_refunds (next_call_at);
CREATE INDEX ix_aplus_refunds_payment ON aplus_refunds (shop, payment_request_id);

-- mysql
CREATE TABLE aplus_moments (
shop VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
name VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
at DATETIME(6) NOT NULL,
PRIMARY KEY (shop, name)
)ENGINE=InnoDB;
CREATE TABLE aplus_payments (
shop VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
payment_request_id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
order_ref VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
occupied_order VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
client_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
state VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
currency VARCHAR(3) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
amount_value BIGINT NOT NULL,
request_body LONGBLOB NOT NULL,
created_at DATETIME(6) NOT NULL,
expires_at DATETIME(6) NOT NULL,
next_call_at DATETIME(6),
changed_at DATETIME(6) NOT NULL,
payment_id LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
order_code LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
result LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
payment_time LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
wallet LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
claim INTEGER NOT NULL,
claimed_until DATETIME(6),
success_reported BOOL NOT NULL,
disputed LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
refunded BIGINT NOT NULL,
last_answer VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
wallet_key VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
attention VARCHAR(1) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
stage VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
PRIMARY KEY (shop, payment_request_id),
CONSTRAINT uq_aplus_payments_occupied_order UNIQUE (shop, occupied_order)
)ENGINE=InnoDB;
CREATE INDEX ix_aplus_payments_attention ON aplus_payments (shop, attention, created_at, payment_request_id);
CREATE INDEX ix_aplus_payments_due ON aplus_payments (next_call_at);
CREATE INDEX ix_aplus_payments_list ON aplus_payments (shop, client_id, state, created_at, payment_request_id);
CREATE INDEX ix_aplus_payments_order ON aplus_payments (shop, order_ref, created_at);
CREATE INDEX ix_aplus_payments_stage ON aplus_payments (shop, stage, changed_at, payment_request_id);
CREATE INDEX ix_aplus_payments_wallet ON aplus_payments (shop, wallet_key, client_id, state, created_at, payment_request_id);
CREATE TABLE aplus_schema (
version INTEGER NOT NULL
)ENGINE=InnoDB;
CREATE TABLE aplus_conflicts (
id BIGINT NOT NULL AUTO_INCREMENT,
shop VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
payment_request_id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
`key` VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
reason LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
details LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
unreported VARCHAR(1) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
unresolved VARCHAR(1) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
resolved_at DATETIME(6),
resolved_by LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
note LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
PRIMARY KEY (id),
CONSTRAINT fk_aplus_conflicts_payment FOREIGN KEY(shop, payment_request_id) REFERENCES aplus_payments (shop, payment_request_id),
CONSTRAINT uq_aplus_conflicts_key UNIQUE (shop, `key`)
)ENGINE=InnoDB;
CREATE INDEX ix_aplus_conflicts_payment ON aplus_conflicts (shop, payment_request_id);
CREATE INDEX ix_aplus_conflicts_unreported ON aplus_conflicts (unreported);
CREATE INDEX ix_aplus_conflicts_unresolved ON aplus_conflicts (shop, unresolved, id);
CREATE TABLE aplus_observations (
id BIGINT NOT NULL AUTO_INCREMENT,
shop VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
payment_request_id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
source VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
details LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
count INTEGER NOT NULL,
first_at DATETIME(6) NOT NULL,
PRIMARY KEY (id),
CONSTRAINT fk_aplus_observations_payment FOREIGN KEY(shop, payment_request_id) REFERENCES aplus_payments (shop, payment_request_id)
)ENGINE=InnoDB;
CREATE INDEX ix_aplus_observations_payment ON aplus_observations (shop, payment_request_id, id);
CREATE INDEX ix_aplus_observations_source ON aplus_observations (shop, source, id);
CREATE TABLE aplus_refunds (
id BIGINT NOT NULL AUTO_INCREMENT,
shop VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
payment_request_id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
refund_request_id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
client_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
state VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
currency VARCHAR(3) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL,
amount_value BIGINT NOT NULL,
reason LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
request_body LONGBLOB NOT NULL,
created_at DATETIME(6) NOT NULL,
next_call_at DATETIME(6),
changed_at DATETIME(6) NOT NULL,
refund_id LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
result LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin,
claim INTEGER NOT NULL,
claimed_until DATETIME(6),
PRIMARY KEY (id),
CONSTRAINT fk_aplus_refunds_payment FOREIGN KEY(shop, payment_request_id) REFERENCES aplus_payments (shop, payment_request_id),
CONSTRAINT uq_aplus_refunds_refund_request_id UNIQUE (shop, refund_request_id)
)ENGINE=InnoDB;
CREATE INDEX ix_aplus_refunds_due ON aplus_refunds (next_call_at);
CREATE INDEX ix_aplus_refunds_payment ON aplus_refunds (shop, payment_request_id);
