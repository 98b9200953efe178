// Go's net/http on pgx 4: structs in and out, the verified tokens cached. One process with as many threads as the
// others have workers, and one pool with as many connections as theirs have together.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/gofrs/uuid"
	"github.com/golang-jwt/jwt"
	"github.com/jackc/pgtype"
	pgtypeuuid "github.com/jackc/pgtype/ext/gofrs-uuid"
	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

const (
	largestBody   = 1 << 20
	largestTokens = 10_000

	listTasks = `select id, title, description, completed, user_id, created_at, updated_at
		from tasks where user_id = $1 order by created_at desc, id desc`
	getTask = `select id, title, description, completed, user_id, created_at, updated_at
		from tasks where user_id = $1 and id = $2`
	createTask = `insert into tasks (id, user_id, title, description) values ($1, $2, $3, $4)
		returning id, title, description, completed, user_id, created_at, updated_at`
	updateTask = `update tasks set title = coalesce($3, title), completed = coalesce($4, completed),
			description = case when $5 then $6 else description end, updated_at = now()
		where user_id = $1 and id = $2
		returning id, title, description, completed, user_id, created_at, updated_at`
	deleteTask = `delete from tasks where user_id = $1 and id = $2`
)

type task struct {
	ID          uuid.UUID `json:"id"`
	Title       string    `json:"title"`
	Description *string   `json:"description"`
	Completed   bool      `json:"completed"`
	UserID      uuid.UUID `json:"user_id"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
}

type oneTask struct {
	Task task `json:"task"`
}

type manyTasks struct {
	Tasks []task `json:"tasks"`
}

type problem struct {
	Error string `json:"error"`
}

type newTask struct {
	Title       string  `json:"title"`
	Description *string `json:"description"`
}

// optional tells a field that was sent as null from one that was not sent.
type optional struct {
	sent  bool
	value *string
}

func (o *optional) UnmarshalJSON(raw []byte) error {
	o.sent = true
	return json.Unmarshal(raw, &o.value)
}

type changes struct {
	Title       *string  `json:"title"`
	Description optional `json:"description"`
	Completed   *bool    `json:"completed"`
}

type claims struct {
	UserID uuid.UUID `json:"user_id"`
	jwt.StandardClaims
}

func (c *claims) Valid() error {
	if c.ExpiresAt == 0 {
		return errors.New("exp is required")
	}
	return c.StandardClaims.Valid()
}

type verified struct {
	user    uuid.UUID
	expires int64
}

type server struct {
	pool    *pgxpool.Pool
	secret  []byte
	origins map[string]bool

	lock   sync.RWMutex
	tokens map[string]verified
}

func (s *server) user(authorization string) (uuid.UUID, bool) {
	s.lock.RLock()
	known, found := s.tokens[authorization]
	s.lock.RUnlock()
	if found {
		return known.user, time.Now().Unix() < known.expires
	}
	scheme, token, _ := strings.Cut(authorization, " ")
	var told claims
	parser := jwt.Parser{ValidMethods: []string{"HS256"}}
	_, err := parser.ParseWithClaims(token, &told, func(*jwt.Token) (interface{}, error) { return s.secret, nil })
	if err != nil || !strings.EqualFold(scheme, "bearer") || told.UserID.IsNil() {
		return uuid.Nil, false
	}
	s.lock.Lock()
	if len(s.tokens) >= largestTokens {
		s.tokens = make(map[string]verified)
	}
	s.tokens[authorization] = verified{told.UserID, told.ExpiresAt}
	s.lock.Unlock()
	return told.UserID, true
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Vary", "Origin")
	if origin := r.Header.Get("Origin"); s.origins[origin] {
		header.Set("Access-Control-Allow-Origin", origin)
		if r.Method == http.MethodOptions {
			header.Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, OPTIONS")
			header.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	user, ok := s.user(r.Header.Get("Authorization"))
	if !ok {
		header.Set("WWW-Authenticate", "Bearer")
		refuse(w, http.StatusUnauthorized, "Unauthorized")
		return
	}
	if r.URL.Path == "/api/tasks" {
		switch r.Method {
		case http.MethodGet:
			s.list(w, r, user)
		case http.MethodPost:
			s.create(w, r, user)
		default:
			refuse(w, http.StatusMethodNotAllowed, "Method not allowed")
		}
		return
	}
	rest := strings.TrimPrefix(r.URL.Path, "/api/tasks/")
	id, err := uuid.FromString(rest)
	if len(rest) == len(r.URL.Path) || err != nil {
		refuse(w, http.StatusNotFound, "Task not found")
		return
	}
	switch r.Method {
	case http.MethodGet:
		s.one(w, r, http.StatusOK, getTask, user, id)
	case http.MethodPut:
		s.update(w, r, user, id)
	case http.MethodDelete:
		s.remove(w, r, user, id)
	default:
		refuse(w, http.StatusMethodNotAllowed, "Method not allowed")
	}
}

func (s *server) list(w http.ResponseWriter, r *http.Request, user uuid.UUID) {
	rows, err := s.pool.Query(r.Context(), listTasks, user)
	if err != nil {
		fail(w, err)
		return
	}
	defer rows.Close()
	tasks := make([]task, 0, 32)
	for rows.Next() {
		var t task
		if err := scan(rows, &t); err != nil {
			fail(w, err)
			return
		}
		tasks = append(tasks, t)
	}
	if err := rows.Err(); err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, manyTasks{tasks})
}

func (s *server) create(w http.ResponseWriter, r *http.Request, user uuid.UUID) {
	var sent newTask
	if !read(w, r, &sent) || !fits(w, &sent.Title, sent.Description) {
		return
	}
	id, err := uuid.NewV4()
	if err != nil {
		fail(w, err)
		return
	}
	s.one(w, r, http.StatusCreated, createTask, id, user, sent.Title, sent.Description)
}

func (s *server) update(w http.ResponseWriter, r *http.Request, user, id uuid.UUID) {
	var sent changes
	if !read(w, r, &sent) || !fits(w, sent.Title, sent.Description.value) {
		return
	}
	s.one(w, r, http.StatusOK, updateTask,
		user, id, sent.Title, sent.Completed, sent.Description.sent, sent.Description.value)
}

func (s *server) remove(w http.ResponseWriter, r *http.Request, user, id uuid.UUID) {
	gone, err := s.pool.Exec(r.Context(), deleteTask, user, id)
	switch {
	case err != nil:
		fail(w, err)
	case gone.RowsAffected() == 0:
		refuse(w, http.StatusNotFound, "Task not found")
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// one runs a statement that returns at most one task and answers with it.
func (s *server) one(w http.ResponseWriter, r *http.Request, status int, sql string, args ...interface{}) {
	var t task
	switch err := scan(s.pool.QueryRow(r.Context(), sql, args...), &t); {
	case errors.Is(err, pgx.ErrNoRows):
		refuse(w, http.StatusNotFound, "Task not found")
	case err != nil:
		fail(w, err)
	default:
		answer(w, status, oneTask{t})
	}
}

func scan(row pgx.Row, t *task) error {
	err := row.Scan(&t.ID, &t.Title, &t.Description, &t.Completed, &t.UserID, &t.CreatedAt, &t.UpdatedAt)
	t.CreatedAt, t.UpdatedAt = t.CreatedAt.UTC(), t.UpdatedAt.UTC()
	return err
}

func read(w http.ResponseWriter, r *http.Request, into interface{}) bool {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largestBody))
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "The request body must be valid JSON")
	}
	return err == nil
}

func fits(w http.ResponseWriter, title, description *string) bool {
	if title != nil && (*title == "" || utf8.RuneCountInString(*title) > 255) {
		refuse(w, http.StatusBadRequest, "Title must have 1 to 255 characters")
		return false
	}
	if description != nil && utf8.RuneCountInString(*description) > 1000 {
		refuse(w, http.StatusBadRequest, "Description must not exceed 1000 characters")
		return false
	}
	return true
}

func answer(w http.ResponseWriter, status int, content interface{}) {
	body, err := json.Marshal(content)
	if err != nil {
		fail(w, err)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func refuse(w http.ResponseWriter, status int, sentence string) {
	answer(w, status, problem{sentence})
}

func fail(w http.ResponseWriter, err error) {
	log.Print(err)
	refuse(w, http.StatusInternalServerError, "Internal server error")
}

func connect(workers, size int) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		return nil, err
	}
	config.MaxConns = int32(workers * size)
	config.AfterConnect = func(_ context.Context, connection *pgx.Conn) error {
		connection.ConnInfo().RegisterDataType(
			pgtype.DataType{Value: &pgtypeuuid.UUID{}, Name: "uuid", OID: pgtype.UUIDOID})
		return nil
	}
	return pgxpool.ConnectConfig(context.Background(), config)
}

func number(name string) int {
	value, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		log.Fatalf("%s: %v", name, err)
	}
	return value
}

func main() {
	workers := number("WORKERS")
	runtime.GOMAXPROCS(workers)
	pool, err := connect(workers, number("POOL_SIZE"))
	if err != nil {
		log.Fatal(err)
	}
	handler := &server{
		pool:    pool,
		secret:  []byte(os.Getenv("BETTER_AUTH_SECRET")),
		origins: make(map[string]bool),
		tokens:  make(map[string]verified),
	}
	for _, origin := range strings.Split(os.Getenv("FRONTEND_URL"), ",") {
		handler.origins[origin] = true
	}
	http := &http.Server{
		Addr:              os.Getenv("HOST") + ":" + os.Getenv("PORT"),
		Handler:           handler,
		ReadHeaderTimeout: 20 * time.Second,
	}
	stopping := make(chan os.Signal, 1)
	signal.Notify(stopping, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-stopping
		_ = http.Shutdown(context.Background())
	}()
	log.Print(http.ListenAndServe())
}
